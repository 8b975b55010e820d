create or replace function tide._release_reserved(
  run_ids uuid[],
  step text default null,
  waits boolean default true
)
returns void
language plpgsql
volatile
as $$
declare
  v_holders uuid[];
begin
  if not exists (
    select
    from tide.reserved_amounts as r
    where r.run_id = any (_release_reserved.run_ids)
  ) then
    return;
  end if;
  v_holders := tide._release_budgets(run_ids, step);
  v_holders := v_holders || tide._release_allowances(run_ids, step, waits);
  perform tide._wake_waiting(h.holder_id)
  from unnest(v_holders) as h(holder_id);
end;
$$;

comment on function tide._release_reserved is
  'Give back what steps of runs, locked by the caller, have reserved, and wake who waits for it.';
