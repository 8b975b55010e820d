create or replace function tide._short_budget(
  limits tide.run_budget[],
  estimate jsonb default '{}'
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_run tide.run_budget;
  v_spent tide.spending;
  v_short record;
begin
  foreach v_run in array limits loop
    v_spent := (
      select s
      from tide.spending as s
      where s.run_id = v_run.run_id
    );
    select
      u.unit,
      u.spent,
      u.reserved,
      greatest(u.most - u.spent - u.reserved, 0) as left_over,
      u.expected as asked
    into v_short
    from (
      values
        (
          'usd',
          (v_run.budget ->> 'max_cost_usd')::numeric,
          coalesce(v_spent.cost_usd, 0),
          coalesce(v_spent.reserved_usd, 0),
          (_short_budget.estimate ->> 'usd')::numeric
        ),
        (
          'tokens',
          (v_run.budget ->> 'max_tokens')::numeric,
          coalesce(v_spent.tokens, 0),
          coalesce(v_spent.reserved_tokens, 0),
          (_short_budget.estimate ->> 'tokens')::numeric
        ),
        (
          'steps', (v_run.budget ->> 'max_steps')::numeric, coalesce(v_spent.steps, 0), 0, null
        )
    ) as u(unit, most, spent, reserved, expected)
    where u.spent + u.reserved >= u.most
      or u.spent + u.reserved + u.expected > u.most
    order by u.unit desc
    limit 1;
    if found then
      return jsonb_build_object(
        'run_id', v_run.run_id,
        'budget', v_run.budget,
        'cost_usd', coalesce(v_spent.cost_usd, 0),
        'tokens', coalesce(v_spent.tokens, 0),
        'steps', coalesce(v_spent.steps, 0),
        'unit', v_short.unit,
        'reserved', v_short.reserved,
        'left', v_short.left_over,
        'asked', v_short.asked
      );
    end if;
  end loop;
  return null;
end;
$$;

comment on function tide._short_budget is
  'The first of some budgets with limits of which too little is left for a step that is expected to '
  'use so much, with what was spent, is reserved and left; null = none.';
