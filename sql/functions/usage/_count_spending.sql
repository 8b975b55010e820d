create or replace function tide._count_spending(run_id uuid)
returns void
language plpgsql
volatile
as $$
begin
  if exists (
    select
    from tide.spending as s
    where s.run_id = _count_spending.run_id
  ) then
    return;
  end if;
  insert into tide.spending (
    run_id, cost_usd, tokens, steps, reserved_usd, reserved_tokens
  )
  with recursive family as (
    select
      r.run_id,
      r.created_at
    from tide.runs as r
    where r.run_id = _count_spending.run_id
    union
    select
      r.run_id,
      r.created_at
    from family as f
    join tide.run_edges as e on e.parent_id = f.run_id
    -- The edges of a fork lead to children of another run.
    join tide.runs as r on r.run_id = e.child_id and r.parent_id = f.run_id
  )
  select
    _count_spending.run_id,
    coalesce(sum(t.cost_usd), 0),
    coalesce(sum(t.tokens), 0),
    coalesce(sum(t.steps), 0),
    tide._sum_reserved(_count_spending.run_id, 'usd'),
    tide._sum_reserved(_count_spending.run_id, 'tokens')
  from family as f
  cross join lateral (
    select
      (
        select sum(u.cost_usd)
        from tide.usage as u
        where u.run_id = f.run_id
      ) as cost_usd,
      (
        select sum(u.total_tokens)
        from tide.usage as u
        where u.run_id = f.run_id
      ) as tokens,
      (
        select sum(s.attempt)
        from tide.steps as s
        where s.run_id = f.run_id
          -- The steps a fork copied are older than itself.
          and s.started_at >= f.created_at
      ) as steps
  ) as t
  on conflict on constraint spending_pkey do nothing;
end;
$$;

comment on function tide._count_spending is
  'What a run and its descendants spent before it had a budget.';
