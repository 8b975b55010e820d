-- Nearest first, the order of _spend. Whoever holds these rows is the only one to judge and to spend:
-- of children that begin at once, one takes the last step of a common budget.
create or replace function tide._lock_budgets(run tide.runs, budgets tide.run_budget[])
returns tide.run_budget[]
language plpgsql
volatile
as $$
declare
  v_limits constant tide.run_budget[] := tide._limits(budgets);
  v_limit tide.run_budget;
begin
  if cardinality(v_limits) = 0 then
    return budgets;
  end if;
  foreach v_limit in array v_limits loop
    perform tide._count_spending(v_limit.run_id);
    perform
    from tide.spending as s
    where s.run_id = v_limit.run_id
    for no key update;
  end loop;
  -- Those of ancestors may have changed before they were locked.
  return case when run.parent_id is null then budgets else tide._budgets(run) end;
end;
$$;

comment on function tide._lock_budgets is
  'Lock what a run and its ancestors with limits have spent, counted first where it never was, and return '
  'their budgets as they are then.';
