create or replace function tide.throughput(
  duration interval default '1 day',
  bucket interval default '15 minutes',
  queues text[] default null
)
returns table (queue text, begins_at timestamptz, completed bigint, failed bigint, cancelled bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_duration constant interval := tide._valid_interval(
    'duration', throughput.duration, '1 minute', '2 days'
  );
  v_bucket constant interval := tide._valid_interval(
    'bucket', throughput.bucket, '1 minute', '1 day'
  );
  v_since constant timestamptz := date_bin(v_bucket, v_now, 'epoch') - v_duration + v_bucket;
  v_counted timestamptz;
begin
  select t.counted_until
  into v_counted
  from tide.ticks as t;
  return query
  with minutes as (
    select
      m.queue,
      m.minute,
      m.completed,
      m.failed,
      m.cancelled
    from tide.queue_minutes as m
    where m.minute >= v_since
      and (throughput.queues is null or m.queue = any (throughput.queues))
    union all
    -- What upkeep has not counted yet, and no more than what a bounded look meets.
    select
      f.queue,
      f.finished_at,
      (f.status = 'completed')::integer,
      (f.status = 'failed')::integer,
      (f.status = 'cancelled')::integer
    from tide._queue_names() as n(queue)
    cross join lateral (
      select
        r.queue,
        r.finished_at,
        r.status
      from tide.runs_finished as r
      where r.queue = n.queue
        and r.finished_at >= greatest(v_counted, v_since)
        and r.finished_at < 'infinity'
      order by
        r.queue,
        r.finished_at
      limit 10000
    ) as f
    where throughput.queues is null
      or n.queue = any (throughput.queues)
  )
  select
    case when throughput.queues is not null then m.queue end,
    date_bin(v_bucket, m.minute, 'epoch'),
    sum(m.completed)::bigint,
    sum(m.failed)::bigint,
    sum(m.cancelled)::bigint
  from minutes as m
  group by
    1,
    2
  order by
    1,
    2;
end;
$$;

comment on function tide.throughput is
  'How many runs of queues ended in each bucket of the last up to two days, of all together or of each '
  'queue given; buckets in which none did are left out.';
