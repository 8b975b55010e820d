create or replace function tide._outline_budgets()
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object('run_id', b.run_id, 'workflow', b.workflow, 'share', b.share)
        order by b.share desc, b.run_id
      ),
      '[]'
    )
    from (
      select
        r.run_id,
        r.workflow,
        round(l.share, 3) as share
      from (
        select
          a.run_id,
          a.workflow,
          a.budget
        from tide.runs_active as a
        where a.status = 'running'
        order by
          a.queue,
          a.run_id
        limit 10001
      ) as r
      join tide.spending as s on s.run_id = r.run_id
      cross join lateral (
        select greatest(
          s.cost_usd / nullif((r.budget ->> 'max_cost_usd')::numeric, 0),
          s.tokens / nullif((r.budget ->> 'max_tokens')::numeric, 0),
          s.steps / nullif((r.budget ->> 'max_steps')::numeric, 0)
        ) as share
      ) as l
      where r.budget is not null
        and l.share >= 0.8
      order by
        l.share desc,
        r.run_id
      limit 5
    ) as b
  );
end;
$$;

comment on function tide._outline_budgets is
  'Running runs that spent four fifths of their own budget or more, of the 10001 running runs looked at.';
