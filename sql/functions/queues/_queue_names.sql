create or replace function tide._queue_names()
returns setof text
language plpgsql
stable
as $$
declare
  v_closed constant text[] := tide._closed_queues();
begin
  return query
  with recursive ready as (
    -- One probe of an index for each queue.
    (
      select r.queue
      from tide.runs_active as r
      where r.ready
      order by r.queue
      limit 1
    )
    union all
    select (
      select r.queue
      from tide.runs_active as r
      where r.ready
        and r.queue > n.queue
      order by r.queue
      limit 1
    )
    from ready as n
    where n.queue is not null
  ),
  running as (
    (
      select r.queue
      from tide.runs_active as r
      where r.status = 'running'
        and r.queue > ''
      order by r.queue
      limit 1
    )
    union all
    select (
      select r.queue
      from tide.runs_active as r
      where r.status = 'running'
        and r.queue > n.queue
      order by r.queue
      limit 1
    )
    from running as n
    where n.queue is not null
  ),
  finished as (
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
    select r.queue
    from ready as r
    union
    select r.queue
    from running as r
    union
    select f.queue
    from finished as f
    union
    select d.queue
    from (
      select o.queue
      from tide.runs_active as o
      where o.status = 'queued'
        and not o.ready
      order by o.run_at
      limit 10001
    ) as d
  )
  select n.queue
  from names as n
  where n.queue is not null
    and n.queue <> all (v_closed);
end;
$$;

comment on function tide._queue_names is
  'The queues with settings or runs that the login may use; of those whose runs are all delayed or '
  'parked, the ones a bounded look meets.';
