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
      and not exists (
        select
        from tide.budget_waits as w
        where w.run_id = r.run_id
      )
    order by r.run_id
  loop
    if tide._short_budget(tide._limits(tide._budgets(v_run))) is null then
      perform tide._resume(v_run, jsonb_build_object('waited_on', 'budget'));
    end if;
  end loop;
end;
$$;

comment on function tide._wake_budget is
  'Wake those of the locked runs that were parked by an earlier release, on budgets which now suffice.';
