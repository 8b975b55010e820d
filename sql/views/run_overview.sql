create or replace view tide.run_overview
with (security_barrier = true) as
select
  r.run_id,
  r.workflow,
  r.queue,
  r.status,
  r.waiting_on,
  r.waiting_for,
  r.dedupe_key is not null as deduplicated,
  r.priority,
  r.attempt,
  r.max_attempts,
  r.last_seq,
  r.run_at,
  r.created_at,
  r.started_at,
  r.finished_at,
  r.deadline_at,
  r.leased_until,
  r.worker,
  r.failure_class,
  r.cancel_reason,
  r.cancel_actor,
  r.parent_id,
  r.forked_from
from tide.runs as r;

comment on view tide.run_overview is
  'Runs without what they carry: no input, metadata, result, error, key or lease.';
