create or replace function tide._write_used(
  run tide.runs,
  step text,
  used tide.usage[],
  ends boolean default true
)
returns void
language plpgsql
volatile
as $$
declare
  v_budgets constant tide.run_budget[] := tide._lock_budgets(run, tide._budgets_to_charge(run));
  v_usage tide.usage;
  v_new tide.usage[] := array[]::tide.usage[];
begin
  foreach v_usage in array used loop
    if (tide._write_usage(run, v_usage, renews => true)).usage_id = v_usage.usage_id then
      v_new := v_new || v_usage;
    end if;
  end loop;
  perform tide._spend(run, step, v_new, ends, v_budgets);
end;
$$;

comment on function tide._write_used is
  'Store what a step of a leased run used, as _parse_used read it, and charge it; ends = and give back what '
  'it had reserved beyond.';
