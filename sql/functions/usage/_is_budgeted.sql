create or replace function tide._is_budgeted(run tide.runs)
returns boolean
language plpgsql
stable
as $$
begin
  if run.budget is null and run.parent_id is null then
    return false;
  end if;
  -- What a budget is and what was spent of it changes without the row of the run.
  perform tide._require_visible(
    format('what run %s and its parents may spend', run.run_id)
  );
  return run.budget is not null
    or exists (
      select
      from tide._budgets(_is_budgeted.run) as b
    );
end;
$$;

comment on function tide._is_budgeted is 'Whether anything limits what a run or an ancestor may spend.';
