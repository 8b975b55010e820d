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
select
  w.plain,
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
$$;

comment on function tide._undisturbed is
  'A row when a claim is as the last one of its worker, no tick is due, and nothing is paused or to be '
  'made ready. plain and secret = of the worker.';
