create or replace function tide._wake_budget(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  for v_run in
    select r.*
    from tide.runs_active as r
    where r.run_id = any (_wake_budget.run_ids)
      and r.waiting_on = 'budget'
    order by r.run_id
  loop
    if tide._over_budget(v_run) is null then
      perform tide._resume(v_run, jsonb_build_object('waited_on', 'budget'));
    end if;
  end loop;
end;
$$;

comment on function tide._wake_budget is
  'Wake those of the locked runs that are parked on budgets which now suffice.';
