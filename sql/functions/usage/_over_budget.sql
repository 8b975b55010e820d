create or replace function tide._over_budget(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
declare
  v_run record;
  v_spent tide.spending;
begin
  for v_run in
    select
      b.run_id,
      b.budget
    from tide._budgets(_over_budget.run) as b
  loop
    select s.*
    into v_spent
    from tide.spending as s
    where s.run_id = v_run.run_id;
    if coalesce(v_spent.cost_usd, 0) >= (v_run.budget ->> 'max_cost_usd')::numeric
      or coalesce(v_spent.tokens, 0) >= (v_run.budget ->> 'max_tokens')::bigint
      or coalesce(v_spent.steps, 0) >= (v_run.budget ->> 'max_steps')::bigint
    then
      return jsonb_build_object(
        'run_id', v_run.run_id,
        'budget', v_run.budget,
        'cost_usd', coalesce(v_spent.cost_usd, 0),
        'tokens', coalesce(v_spent.tokens, 0),
        'steps', coalesce(v_spent.steps, 0)
      );
    end if;
  end loop;
  return null;
end;
$$;

comment on function tide._over_budget is
  'The budget, of the run or of an ancestor, that is used up, with what was spent; null = none.';
