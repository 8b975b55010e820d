-- To be inlined: the claims of a busy worker ask this and no more. What it says no to is looked at
-- by what acts on it. A worker that is known has valid queues, workflows and a valid name.
create or replace function tide._undisturbed(
  queues text[],
  worker text,
  workflows text[],
  now timestamptz
)
returns table (plain boolean, secret uuid)
language sql
stable
as $$
select not exists (
    select
    from tide.queues as q
    where q.queue operator(pg_catalog.=) any (_undisturbed.queues)
      and (
        q.paused
        or pg_catalog.num_nonnulls(q.push_url, q.concurrency, q.rate_limit, q.budget)
          operator(pg_catalog.>) 0
      )
  ),
  w.lease_secret
from tide.ticks as t
  join tide.workers as w on w.worker operator(pg_catalog.=) _undisturbed.worker
where t.next_at operator(pg_catalog.>) _undisturbed.now
  and t.paused_at is null
  and w.seen_at operator(pg_catalog.>) (
    _undisturbed.now operator(pg_catalog.-) '10 seconds'::interval
  )
  and w.queues operator(pg_catalog.=) _undisturbed.queues
  and (
    w.workflows operator(pg_catalog.=) _undisturbed.workflows
    or w.workflows is null and _undisturbed.workflows is null
  )
  and not exists (
    select
    from tide.runs_active as r
    where r.status operator(pg_catalog.=) 'queued'
      and not r.ready
      and r.run_at operator(pg_catalog.<=) _undisturbed.now
  )
  and not exists (
    select
    from tide.queue_grants as g
    where g.queue operator(pg_catalog.=) any (_undisturbed.queues)
  )
$$;

comment on function tide._undisturbed is
  'A row when a claim is as the last one of its worker, no tick is due, nothing is paused or to be '
  'made ready, and no queue is restricted: then nothing has to be done before it takes runs. plain = '
  'they have no limits either; secret = of the worker, for its leases.';
