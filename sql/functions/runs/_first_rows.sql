-- In SQL, so that it is inlined. The columns are those of the table, in their order.
create or replace function tide._first_rows(runs tide.new_run[], now timestamptz)
returns setof tide.runs
language sql
stable
as $$
select
  n.run_id,
  n.workflow,
  n.queue,
  case when n.queue is null then 'pending' else 'queued' end as status,
  case when n.after_mode is not null then 'after' end as waiting_on,
  n.dedupe_key,
  n.priority,
  coalesce(n.attempt, 0) as attempt,
  n.max_attempts,
  coalesce(n.last_seq, 1) as last_seq,
  null::integer as slot,
  n.queue is not null
    and n.run_at operator(pg_catalog.<=) _first_rows.now
    and n.after_mode is null as ready,
  case when n.after_mode is null then n.run_at end as run_at,
  n.created_at,
  n.started_at,
  null::pg_catalog.timestamptz as finished_at,
  n.deadline_at,
  null::pg_catalog.timestamptz as leased_until,
  null::interval as lease,
  null::pg_catalog.uuid as lease_id,
  n.worker,
  null::pg_catalog.text as ended_by,
  null::pg_catalog.text as failure_class,
  null::pg_catalog.text as cancel_reason,
  null::pg_catalog.text as cancel_actor,
  case when not tide._lies_apart(n.input) then n.input end as input,
  n.metadata,
  null::pg_catalog.jsonb as result,
  n.error,
  n.backoff,
  n.deadline,
  n.parent_id,
  n.forked_from,
  n.after_mode as waiting_for,
  0 as open_gates,
  n.budget,
  n.recovery_url,
  -- A plain run that is retried has to be begun, and its application asked to do so.
  case
    when n.recovery_url is not null and n.queue is null and n.last_seq operator(pg_catalog.>) 1
      then n.run_at
  end as recover_at,
  0 as recoveries,
  null::pg_catalog.timestamptz as dispatched_until,
  0 as dispatches,
  coalesce(n.told_events, 0) as told_events,
  coalesce(n.requested_by, session_user) as requested_by,
  null::pg_catalog.uuid as session_id,
  n.lane,
  n.lane_key,
  null::integer as lane_slot,
  null::integer as lane_key_slot,
  null::boolean as followed,
  null::pg_catalog.timestamptz as turn_at,
  n.dedupe_for,
  n.cost,
  null::bigint as units_left
from pg_catalog.unnest(_first_rows.runs) as n
$$;

comment on function tide._first_rows is
  'The rows of runs that are made: pending without a queue, else queued, and ready when due '
  'unless they come after others.';
