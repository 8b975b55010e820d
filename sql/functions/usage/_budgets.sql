create or replace function tide._budgets(run tide.runs)
returns tide.run_budget[]
language plpgsql
stable
as $$
declare
  v_budgets tide.run_budget[] := array[]::tide.run_budget[];
  v_budget tide.run_budget;
  v_parent_id uuid := run.parent_id;
begin
  if run.budget is not null then
    v_budgets := array[row(run.run_id, run.budget)::tide.run_budget];
  end if;
  while v_parent_id is not null loop
    select
      r.run_id,
      r.budget,
      r.parent_id
    into v_budget.run_id, v_budget.budget, v_parent_id
    from tide.runs as r
    where r.run_id = v_parent_id;
    exit when not found;
    if v_budget.budget is not null then
      v_budgets := v_budgets || v_budget;
    end if;
  end loop;
  return v_budgets;
end;
$$;

comment on function tide._budgets is
  'The budgets a run is charged to: its own and those of its ancestors, nearest first.';
