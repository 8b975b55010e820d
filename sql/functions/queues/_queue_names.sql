create or replace function tide._queue_names()
returns setof text
language plpgsql
stable
as $$
declare
  v_closed constant text[] := tide._closed_queues();
begin
  return query
  with recursive
  -- One probe of an index for each queue; no queue has an empty name.
  ready as (
    select '' as queue
    union all
    select (
      select r.queue
      from tide.runs_active as r
      where r.queue > n.queue
        and r.ready
      order by r.queue
      limit 1
    )
    from ready as n
    where n.queue is not null
  ),
  running as (
    select '' as queue
    union all
    select (
      select r.queue
      from tide.runs_active as r
      where r.queue > n.queue
        and r.status = 'running'
      order by r.queue
      limit 1
    )
    from running as n
    where n.queue is not null
  ),
  delayed as (
    select '' as queue
    union all
    select (
      select r.queue
      from tide.runs_active as r
      where r.queue > n.queue
        and r.status = 'queued'
        and not r.ready
        and r.waiting_on is null
      order by r.queue
      limit 1
    )
    from delayed as n
    where n.queue is not null
  ),
  parked as (
    select '' as queue
    union all
    select (
      select r.queue
      from tide.runs_active as r
      where r.queue > n.queue
        and r.status = 'queued'
        and r.waiting_on is not null
      order by r.queue
      limit 1
    )
    from parked as n
    where n.queue is not null
  ),
  finished as (
    select '' as queue
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
    from delayed as d
    union
    select p.queue
    from parked as p
  )
  select n.queue
  from names as n
  where n.queue <> ''
    and n.queue <> all (v_closed);
end;
$$;

comment on function tide._queue_names is 'The queues with settings or runs that the login may use.';
