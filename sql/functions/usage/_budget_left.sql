create or replace function tide._budget_left(holder_id uuid, unit text)
returns numeric
language plpgsql
stable
as $$
declare
  v_allowance tide.allowances;
  v_budget jsonb;
  v_spent tide.spending;
begin
  v_allowance := (
    select a
    from tide.allowances as a
    where a.allowance_id = _budget_left.holder_id
  );
  if v_allowance.allowance_id is not null then
    return tide._allowance_left(v_allowance);
  end if;
  select r.budget
  into v_budget
  from tide.runs as r
  where r.run_id = _budget_left.holder_id;
  v_spent := (
    select s
    from tide.spending as s
    where s.run_id = _budget_left.holder_id
  );
  return case _budget_left.unit
    when 'usd'
      then (v_budget ->> 'max_cost_usd')::numeric
        - coalesce(v_spent.cost_usd + v_spent.reserved_usd, 0)
    when 'tokens'
      then (v_budget ->> 'max_tokens')::numeric
        - coalesce(v_spent.tokens + v_spent.reserved_tokens, 0)
    when 'steps' then (v_budget ->> 'max_steps')::numeric - coalesce(v_spent.steps, 0)
  end;
end;
$$;

comment on function tide._budget_left is
  'What is left of an allowance, or of a unit of the budget of a run; null = no limit.';
