create or replace function tide.outline_schedules()
returns table (
  schedule text,
  cron text,
  time_zone text,
  workflow text,
  queue text,
  misfire text,
  overlap text,
  enabled boolean,
  paused boolean,
  next_fire_at timestamptz,
  updated_at timestamptz,
  fires jsonb
)
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    s.schedule,
    s.cron,
    s.time_zone,
    s.workflow,
    s.queue,
    s.misfire,
    s.overlap,
    s.enabled,
    s.paused,
    s.next_fire_at,
    s.updated_at,
    (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'fire_at', f.fire_at,
            'outcome', f.outcome,
            'fires', f.fires,
            'run_id', f.run_id,
            'status', r.status
          )
          order by f.fire_at desc
        ),
        '[]'
      )
      from (
        select l.*
        from tide.schedule_fires as l
        where l.schedule = s.schedule
        order by l.fire_at desc
        limit 10
      ) as f
      left join tide.runs as r on r.run_id = f.run_id
    )
  from tide.schedules as s
  order by s.schedule
  limit 1000;
end;
$$;

comment on function tide.outline_schedules is
  'Schedules by name without input and metadata, each with its last ten fires and what became of their '
  'runs.';
