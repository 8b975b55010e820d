create or replace function tide._explain_budget(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
declare
  v_wait tide.budget_waits;
begin
  v_wait := (
    select w
    from tide.budget_waits as w
    where w.run_id = run.run_id
  );
  return coalesce(
    nullif(tide._explain_shortage(v_wait), '{}'),
    tide._short_budget(tide._limits(tide._budgets(run)), tide._asked(v_wait)),
    '{}'
  );
end;
$$;

comment on function tide._explain_budget is
  'The allowance or the budget a parked run waits for, with what is left and what it asked for.';
