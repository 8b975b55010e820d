create or replace function tide._count_parked(queues text[], most bigint)
returns table (queue text, waiting_on text, runs bigint)
language plpgsql
stable
as $$
begin
  return query
  with recursive reasons as (
    -- One probe of an index for each queue and reason.
    select
      q.queue,
      '' as waiting_on
    from unnest(_count_parked.queues) as q(queue)
    union all
    select
      n.queue,
      (
        select r.waiting_on
        from tide.runs_active as r
        where r.status = 'queued'
          and r.queue = n.queue
          and r.waiting_on > n.waiting_on
        order by
          r.queue,
          r.waiting_on
        limit 1
      )
    from reasons as n
    where n.waiting_on is not null
  )
  select
    n.queue,
    n.waiting_on,
    c.runs
  from reasons as n
  cross join lateral (
    select count(*) as runs
    from (
      select
      from tide.runs_active as r
      where r.status = 'queued'
        and r.queue = n.queue
        and r.waiting_on = n.waiting_on
      order by
        r.queue,
        r.waiting_on
      limit _count_parked.most
    ) as l
  ) as c
  where n.waiting_on > '';
end;
$$;

comment on function tide._count_parked is
  'The parked runs of these queues by what they wait for, each counted to most and no further.';
