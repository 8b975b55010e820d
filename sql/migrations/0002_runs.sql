-- Runs, active and finished, and the row type enqueue answers with. New tables only.
create table tide.runs (
  run_id uuid not null,
  workflow text not null,
  queue text,
  status text not null,
  waiting_on text,
  dedupe_key text,
  priority integer not null default 0,
  attempt integer not null default 0,
  max_attempts integer not null default 1,
  last_seq integer not null default 0,
  slot integer,
  ready boolean not null default false,
  run_at timestamptz not null,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  deadline_at timestamptz,
  leased_until timestamptz,
  lease interval,
  lease_id uuid,
  worker text,
  ended_by text,
  failure_class text,
  cancel_reason text,
  cancel_actor text,
  input jsonb not null default '{}',
  metadata jsonb not null default '{}',
  result jsonb,
  error jsonb,
  backoff jsonb,
  deadline interval,
  constraint runs_finished_iff_terminal check (
    (finished_at is not null) = (status in ('completed', 'failed', 'cancelled'))
  ),
  constraint runs_leased_iff_running check (
    (leased_until is not null) = (status = 'running')
    and (leased_until is null or lease_id is not null)
  ),
  constraint runs_slot_only_while_running check (slot is null or status = 'running'),
  constraint runs_queued_in_a_queue check (status <> 'queued' or queue is not null),
  constraint runs_ready_only_when_queued check (not ready or status = 'queued'),
  constraint runs_parked_is_never_due check (
    waiting_on is null
    or (status in ('queued', 'pending') and not ready and run_at = 'infinity')
  ),
  constraint runs_attempt_not_negative check (attempt >= 0),
  constraint runs_max_attempts_sane check (max_attempts between 1 and 100)
) partition by list (status);
comment on table tide.runs is
  'Every run is one row in one partition: runs_active while it can still move, runs_finished '
  'after. Change runs by tide functions only.';
comment on column tide.runs.queue is 'null = a plain run, begun by its id.';
comment on column tide.runs.waiting_on is
  'Why a parked run waits: review = an operator decides about a step.';
comment on column tide.runs.dedupe_key is
  'At most one queued or running run per queue has this key.';
comment on column tide.runs.priority is 'Higher is claimed first.';
comment on column tide.runs.attempt is
  'Attempts counted so far; an attempt handed back by release or parking is not counted.';
comment on column tide.runs.last_seq is 'seq of the newest event of this run.';
comment on column tide.runs.slot is 'The place held in a capped queue.';
comment on column tide.runs.ready is 'Queued, due and not parked: a claim may take it now.';
comment on column tide.runs.run_at is
  'Not before this time; infinity while parked. Kept through claims: it is the place in the queue.';
comment on column tide.runs.leased_until is
  'The worker owns the run until then, and longer if nobody takes it. Never indexed, so that '
  'heartbeats stay HOT.';
comment on column tide.runs.deadline is
  'How long the run has until deadline_at; counted anew when it is retried.';
comment on column tide.runs.lease is 'Length of the lease, renewed by heartbeats and steps.';
comment on column tide.runs.lease_id is
  'Proof of ownership of the current or the last attempt; a secret between worker and database.';
comment on column tide.runs.ended_by is
  'How the attempt of lease_id ended, so that the same report sent again gets the same answer.';
comment on column tide.runs.failure_class is
  'Why a failed run failed: error, max_retries, fail_hard, bad_input or a name of the caller.';
comment on column tide.runs.backoff is
  'Delays between attempts of this run: {"base", "max", "jitter"}; null = as the queue says.';

create table tide.runs_active partition of tide.runs (
  constraint runs_active_pkey primary key (run_id),
  constraint runs_active_waits_for_known check (waiting_on in ('review'))
) for values in ('pending', 'queued', 'running') with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 10000,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0,
  vacuum_truncate = off
);
comment on table tide.runs_active is
  'Runs that can still move. Its size is the live work, whatever the history holds.';

create index runs_ready_idx on tide.runs_active (queue, priority desc, run_at, run_id)
where ready;
comment on index tide.runs_ready_idx is
  'The order of claims. Keep it the only index on ready runs: with a narrower one beside it '
  'the planner may sort the backlog.';
create index runs_due_idx on tide.runs_active (run_at)
where status = 'queued' and not ready;
create index runs_running_idx on tide.runs_active (queue, run_id)
where status = 'running';
create unique index runs_dedupe_key_active_uidx on tide.runs_active (queue, dedupe_key)
where dedupe_key is not null and status <> 'pending';
create unique index runs_slot_uidx on tide.runs_active (queue, slot)
where slot is not null;
comment on index tide.runs_slot_uidx is
  'Makes a run beyond the cap of its queue impossible, whatever the functions do.';
create index runs_deadline_idx on tide.runs_active (deadline_at)
where deadline_at is not null;

create table tide.runs_finished partition of tide.runs (
  constraint runs_finished_pkey primary key (run_id),
  constraint runs_finished_holds_nothing check (
    slot is null and not ready and waiting_on is null
  )
) for values in ('completed', 'failed', 'cancelled') with (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_insert_scale_factor = 0.05
);
comment on table tide.runs_finished is 'Runs that ended; removed by retention, oldest first.';

create index runs_finished_by_queue_idx on tide.runs_finished (queue, finished_at);
create index runs_finished_by_workflow_idx on tide.runs_finished (workflow, run_id);
create index runs_failed_idx on tide.runs_finished (run_id)
where status = 'failed';
create index runs_cancelled_idx on tide.runs_finished (run_id)
where status = 'cancelled';

create type tide.enqueued as (
  run_id uuid,
  deduplicated boolean,
  status text
);
comment on type tide.enqueued is
  'Answer of enqueue: the run, and whether it was there before.';

create type tide.verdict as (
  run_id uuid,
  accepted boolean,
  reason text
);
comment on type tide.verdict is
  'What became of a reported outcome: repeated (accepted before), lost, cancelled, finished, '
  'missing, payload_too_large, bad_payload, bad_outcome (failure_class or a delay that cannot be '
  'stored); no reason = accepted.';

create type tide.outcome as (
  run_id uuid,
  lease_id uuid,
  verb text,
  result jsonb,
  error jsonb,
  retryable boolean,
  failure_class text,
  delay interval,
  problem text
);
comment on type tide.outcome is
  'A report about a leased run on its way through settle: completed, failed or released.';
