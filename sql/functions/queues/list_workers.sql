create or replace function tide.list_workers()
returns table (
  worker text,
  queues text[],
  workflows text[],
  seen_at timestamptz,
  running bigint,
  expired bigint,
  oldest_started_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  return query
  with held as (
    select
      r.worker,
      count(*) as running,
      count(*) filter (where r.leased_until < v_now) as expired,
      min(r.started_at) as oldest_started_at
    from (
      select a.*
      from tide.runs_active as a
      where a.status = 'running'
      order by
        a.queue,
        a.run_id
      limit 10000
    ) as r
    group by r.worker
  ),
  known as (
    select w.*
    from tide.workers as w
    order by w.seen_at desc
    limit 1000
  )
  select
    coalesce(k.worker, h.worker),
    k.queues,
    k.workflows,
    k.seen_at,
    coalesce(h.running, 0),
    coalesce(h.expired, 0),
    h.oldest_started_at
  from known as k
  full join held as h on h.worker = k.worker
  order by
    k.seen_at desc nulls last,
    1;
end;
$$;

comment on function tide.list_workers is
  'Workers that claimed lately or hold runs: what they claim, when they were last seen, how many runs '
  'they hold; expired = leases that ended. A look at 10000 running runs.';
