create or replace view tide.queue_stats
with (security_barrier = true) as
with recursive finished as (
  -- One probe of the index for each queue.
  (
    select f.queue
    from tide.runs_finished as f
    where f.queue is not null
    order by f.queue
    limit 1
  )
  union all
  select (
    select f.queue
    from tide.runs_finished as f
    where f.queue > n.queue
    order by f.queue
    limit 1
  )
  from finished as n
  where n.queue is not null
),
names as (
  select q.queue
  from tide.queues as q
  union
  select a.queue
  from tide.runs_active as a
  where a.queue is not null
  union
  select m.queue
  from tide.queue_minutes as m
  union
  select f.queue
  from finished as f
  where f.queue is not null
),
active as (
  select
    a.queue,
    count(*) filter (where a.status = 'queued') as queued,
    count(*) filter (where a.ready) as ready,
    count(*) filter (
      where a.status = 'queued' and not a.ready and a.waiting_on is null
    ) as delayed,
    count(*) filter (where a.waiting_on is not null) as parked,
    count(*) filter (where a.status = 'running') as running,
    min(a.run_at) filter (where a.ready) as oldest_ready
  from tide.runs_active as a
  where a.queue is not null
  group by a.queue
)
select
  n.queue,
  coalesce(q.paused, false) as paused,
  coalesce(a.queued, 0) as queued,
  coalesce(a.ready, 0) as ready,
  coalesce(a.delayed, 0) as delayed,
  coalesce(a.parked, 0) as parked,
  coalesce(a.running, 0) as running,
  tide._now() - nullif(a.oldest_ready, 'infinity') as oldest_ready_age,
  q.concurrency,
  (
    select count(*)
    from tide.slots as s
    where s.queue = n.queue
      and s.run_id is not null
  ) as slots_busy,
  q.rate_limit,
  q.rate_period,
  case
    when q.rate_limit is not null then (
      select count(*)
      from tide.permits as p
      where p.queue = n.queue
        and p.available_at <= tide._now()
    )
  end as rate_left,
  c.completed_hour,
  c.failed_hour,
  c.cancelled_hour,
  c.completed_day,
  c.failed_day,
  c.cancelled_day
from names as n
left join tide.queues as q on q.queue = n.queue
left join active as a on a.queue = n.queue
cross join (
  select
    k.counted_until,
    date_trunc('minute', tide._now()) - interval '1 day' as day,
    date_trunc('minute', tide._now()) - interval '1 hour' as hour
  from tide.ticks as k
) as t
cross join lateral (
  select
    coalesce(sum(e.completed) filter (where e.minute >= t.hour), 0)::bigint as completed_hour,
    coalesce(sum(e.failed) filter (where e.minute >= t.hour), 0)::bigint as failed_hour,
    coalesce(sum(e.cancelled) filter (where e.minute >= t.hour), 0)::bigint as cancelled_hour,
    coalesce(sum(e.completed), 0)::bigint as completed_day,
    coalesce(sum(e.failed), 0)::bigint as failed_day,
    coalesce(sum(e.cancelled), 0)::bigint as cancelled_day
  from (
    select
      m.minute,
      m.completed,
      m.failed,
      m.cancelled
    from tide.queue_minutes as m
    where m.queue = n.queue
      and m.minute >= t.day
    union all
    select
      date_trunc('minute', f.finished_at),
      count(*) filter (where f.status = 'completed'),
      count(*) filter (where f.status = 'failed'),
      count(*) filter (where f.status = 'cancelled')
    from tide.runs_finished as f
    where f.queue = n.queue
      and f.finished_at >= greatest(t.counted_until, t.day)
      -- Closed above for the planner, which takes an open range for a third of the history.
      and f.finished_at < 'infinity'
    group by date_trunc('minute', f.finished_at)
  ) as e
) as c;

comment on view tide.queue_stats is
  'Each queue: runs by state, age of the oldest ready run, cap and rate, and what ended within the '
  'last hour and day. Reads live runs and counted minutes, never the whole history.';
