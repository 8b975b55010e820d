create or replace function tide._finished_counts(queue text)
returns table (
  completed_hour bigint,
  failed_hour bigint,
  cancelled_hour bigint,
  completed_day bigint,
  failed_day bigint,
  cancelled_day bigint
)
language plpgsql
stable
as $$
declare
  v_day constant timestamptz := date_trunc('minute', tide._now()) - interval '1 day';
  v_hour constant timestamptz := date_trunc('minute', tide._now()) - interval '1 hour';
  v_counted timestamptz;
begin
  select t.counted_until
  into v_counted
  from tide.ticks as t;
  return query
  with ended as (
    select
      m.minute,
      m.completed,
      m.failed,
      m.cancelled
    from tide.queue_minutes as m
    where m.queue = _finished_counts.queue
      and m.minute >= v_day
    union all
    select
      v.minute,
      count(*) filter (where v.status = 'completed'),
      count(*) filter (where v.status = 'failed'),
      count(*) filter (where v.status = 'cancelled')
    from (
      select
        date_trunc('minute', f.finished_at) as minute,
        f.status
      from tide.runs_finished as f
      where f.queue = _finished_counts.queue
        and f.finished_at >= greatest(v_counted, v_day)
    ) as v
    group by v.minute
  )
  select
    coalesce(sum(e.completed) filter (where e.minute >= v_hour), 0)::bigint,
    coalesce(sum(e.failed) filter (where e.minute >= v_hour), 0)::bigint,
    coalesce(sum(e.cancelled) filter (where e.minute >= v_hour), 0)::bigint,
    coalesce(sum(e.completed), 0)::bigint,
    coalesce(sum(e.failed), 0)::bigint,
    coalesce(sum(e.cancelled), 0)::bigint
  from ended as e;
end;
$$;

comment on function tide._finished_counts is
  'What ended in a queue within the last hour and day, to the minute.';
