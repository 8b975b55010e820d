-- Budgets before allowances, each in one order, and judged before anything is written.
create or replace function tide._park_over_budget(run tide.runs, step text, estimate jsonb)
returns boolean
language plpgsql
volatile
as $$
declare
  v_budgets tide.run_budget[] := tide._budgets_to_charge(run);
  v_limits tide.run_budget[];
  v_allowances tide.allowances[];
  v_estimate jsonb;
  v_short jsonb;
  v_wait tide.budget_waits;
begin
  if cardinality(v_budgets) = 0 then
    return false;
  end if;
  v_budgets := tide._lock_budgets(run, v_budgets);
  v_limits := tide._limits(v_budgets);
  v_allowances := tide._allowances(v_budgets);
  perform tide._check_units(run.run_id, estimate, v_limits, v_allowances);
  v_estimate := tide._step_estimate(v_budgets, estimate);
  if cardinality(v_limits) > 0 then
    -- A budget has one row, so what a lost attempt reserved may be given back first.
    perform tide._release_budgets(array[run.run_id], step);
    v_short := tide._short_budget(v_limits, v_estimate);
  end if;
  if v_short is not null then
    v_wait.run_id := run.run_id;
    v_wait.holder_id := (v_short ->> 'run_id')::uuid;
    v_wait.unit := v_short ->> 'unit';
    v_wait.amount := coalesce((v_short ->> 'asked')::numeric, 0);
  else
    v_wait := tide._reserve_allowances(run.run_id, step, v_estimate, v_allowances);
  end if;
  if v_wait.run_id is null then
    perform tide._reserve_budgets(run.run_id, step, v_estimate, v_limits);
    delete from tide.budget_waits as w
    where w.run_id = run.run_id;
    return false;
  end if;
  insert into tide.budget_waits as w (run_id, holder_id, unit, amount, since, due_at)
  values (
    v_wait.run_id,
    v_wait.holder_id,
    v_wait.unit,
    v_wait.amount,
    tide._now(),
    v_wait.due_at
  )
  on conflict on constraint budget_waits_pkey do update
  set
    holder_id = excluded.holder_id,
    unit = excluded.unit,
    amount = excluded.amount,
    due_at = excluded.due_at,
    woken_at = null;
  perform tide._park(
    run,
    'budget',
    coalesce(
      v_short ->> 'run_id',
      (
        select a.scope
        from tide.allowances as a
        where a.allowance_id = v_wait.holder_id
      ),
      v_wait.unit
    ),
    jsonb_build_object('spent', coalesce(v_short, tide._explain_shortage(v_wait)))
  );
  return true;
end;
$$;

comment on function tide._park_over_budget is
  'Reserve what a step is expected to use in the budgets and allowances of a run, or park it when too '
  'little is left of one, and return true.';
