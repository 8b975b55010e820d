create or replace function tide._budgets_to_charge(run tide.runs)
returns tide.run_budget[]
language plpgsql
stable
as $$
begin
  if run.budget is null and run.parent_id is null then
    return array[]::tide.run_budget[];
  end if;
  -- What a budget is and what was spent of it changes without the row of the run.
  perform tide._require_visible(
    format('what run %s and its parents may spend', run.run_id)
  );
  return tide._budgets(run);
end;
$$;

comment on function tide._budgets_to_charge is
  'The budgets of _budgets, to be judged and changed; or 25001.';
