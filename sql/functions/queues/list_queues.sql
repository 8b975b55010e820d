-- Bounded looks: a queue with a million runs costs what one with ten thousand costs.
create or replace function tide.list_queues(queues text[] default null)
returns table (
  queue text,
  paused boolean,
  dispatch text,
  ready bigint,
  running bigint,
  delayed bigint,
  parked bigint,
  oldest_ready_age interval,
  concurrency integer,
  slots_busy bigint,
  rate_limit integer,
  rate_period interval,
  rate_left bigint,
  settings jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_sort = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_most constant bigint := 10001;
  v_closed constant text[] := tide._closed_queues();
begin
  return query
  with names as materialized (
    select g.queue
    from unnest(list_queues.queues) as g(queue)
    where g.queue <> all (v_closed)
    union
    select m.queue
    from tide._queue_names() as m(queue)
    where list_queues.queues is null
  ),
  waiting as materialized (
    select
      w.queue,
      least(sum(w.runs), v_most)::bigint as runs
    from tide._count_parked(array(select a.queue from names as a), v_most) as w
    group by w.queue
  )
  select
    n.queue,
    coalesce(q.paused, false),
    case when q.push_url is null then 'workers' else 'push' end,
    ready.runs,
    running.runs,
    delayed.runs,
    coalesce(w.runs, 0),
    v_now - first.run_at,
    q.concurrency,
    (
      select count(*)
      from tide.slots as c
      where c.queue = n.queue
        and c.run_id is not null
    ),
    q.rate_limit,
    q.rate_period,
    case
      when q.rate_limit is not null then (
        select count(*)
        from tide.permits as p
        where p.queue = n.queue
          and p.available_at <= v_now
      )
    end,
    to_jsonb(q) - '{queue,created_at}'::text[]
  from names as n
  left join tide.queues as q on q.queue = n.queue
  left join waiting as w on w.queue = n.queue
  cross join lateral (
    select count(*) as runs
    from (
      select
      from tide.runs_active as r
      where r.ready
        and r.queue = n.queue
      order by r.queue
      limit v_most
    ) as c
  ) as ready
  cross join lateral (
    select count(*) as runs
    from (
      select
      from tide.runs_active as r
      where r.status = 'running'
        and r.queue = n.queue
      order by
        r.queue,
        r.run_id
      limit v_most
    ) as c
  ) as running
  cross join lateral (
    select count(*) as runs
    from (
      select
      from tide.runs_active as r
      where r.status = 'queued'
        and not r.ready
        and r.queue = n.queue
        and r.waiting_on is null
      order by r.queue
      limit v_most
    ) as c
  ) as delayed
  left join lateral (
    select min(o.run_at) as run_at
    from tide._oldest_ready(n.queue) as o(run_at)
  ) as first on true;
end;
$$;

comment on function tide.list_queues is
  'All queues, or those given: settings, what its cap and rate leave, and runs by state, each counted to '
  '10001 and no further.';
