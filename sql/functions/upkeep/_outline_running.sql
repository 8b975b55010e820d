create or replace function tide._outline_running(now timestamptz)
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'workflow', w.workflow,
          'runs', w.runs,
          'expired', w.expired,
          'oldest_started_at', w.oldest_started_at
        )
        order by w.runs desc, w.workflow
      ),
      '[]'
    )
    from (
      select
        r.workflow,
        count(*) as runs,
        count(*) filter (where r.leased_until < _outline_running.now) as expired,
        min(r.started_at) as oldest_started_at
      from (
        select
          a.workflow,
          a.leased_until,
          a.started_at
        from tide.runs_active as a
        where a.status = 'running'
        order by
          a.queue,
          a.run_id
        limit 10001
      ) as r
      group by r.workflow
      order by
        count(*) desc,
        r.workflow
      limit 20
    ) as w
  );
end;
$$;

comment on function tide._outline_running is
  'The workflows with most running runs, of the 10001 running runs looked at.';
