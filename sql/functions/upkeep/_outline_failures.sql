create or replace function tide._outline_failures(now timestamptz)
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'workflow', g.workflow,
          'failure_class', g.failure_class,
          'runs', g.runs,
          'newest_run', g.newest_run,
          'newest_at', g.newest_at
        )
        order by g.runs desc, g.newest_at desc
      ),
      '[]'
    )
    from (
      select
        f.workflow,
        f.failure_class,
        count(*) as runs,
        (array_agg(f.run_id order by f.finished_at desc))[1] as newest_run,
        max(f.finished_at) as newest_at
      from (
        select
          r.run_id,
          r.workflow,
          r.failure_class,
          r.finished_at
        from tide.runs_finished as r
        where r.status = 'failed'
        order by r.run_id desc
        limit 2000
      ) as f
      where f.finished_at > _outline_failures.now - interval '1 day'
      group by
        f.workflow,
        f.failure_class
      order by
        count(*) desc,
        max(f.finished_at) desc
      limit 10
    ) as g
  );
end;
$$;

comment on function tide._outline_failures is
  'What failed within the last day by workflow and class, of the newest 2000 failed runs.';
