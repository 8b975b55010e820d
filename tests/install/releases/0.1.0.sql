-- This text installs the schema tide 0.1.0, just as the command would.
-- Run it as the role that owns the schema: psql -X -f FILE
-- It checks first that the database is as it expects, and otherwise changes nothing.
--
-- sha256 of the text below the line: b85eb1b949b019d498feeb5e227149d6748a2bb21b3853d8d3ba32df11962920
-- 0001_queues.sql f9c111f7d8ceba29d98bbc0628f0cd01c2bd3c4d9c308f7793cf5f90bce309e6
-- 0002_runs.sql 959649a8a3899ef8c0a7e671118f2089444d8b4b222375cf3ba074be0aceafe9
-- 0003_steps.sql c317f1017b90a022c365918871bc68440d44e4fc0c201197884e4ef82410c61d
-- 0004_events.sql 79ac49e04ab98060809a5d8eca20709ea60ed4e27d5d831ffc06d510c9098dea
-- 0005_upkeep.sql 1418f8b977be0bdf86a6d5a683e605e4863a0e31a437871999314243c0716bf5
-- 0006_waiting.sql 964903c61e1a8591528e76cbf5816943542d7c22b439e39c0298520dc69804b5
-- 0007_state_and_usage.sql 6a32de111de7fa0f6328e1ee0950ba32cb49b2c175506f6a3a3d5897a0d30cf8
-- functions, views and grants 60bb32a3e94acd82f92dd98e1adbb9413be91680dbb872a8dfc75c3404f88050
-- -------------------------------------------------------------------------------------
\set ON_ERROR_STOP on

begin isolation level read committed read write;
set local lock_timeout = '1s';
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
set local check_function_bodies = off;
set local client_min_messages = warning;
set local standard_conforming_strings = on;
set local search_path = pg_catalog, pg_temp;
do $tide$
declare
  v_expected constant jsonb := '{}';
  v_found jsonb := '{}';
begin
  if not pg_try_advisory_xact_lock(hashtext('tide.install')) then
    raise exception 'another installation is under way; nothing was changed';
  end if;
  if current_setting('server_version_num')::integer < 150000 then
    raise exception 'the schema tide needs PostgreSQL 15 or newer';
  end if;
  if pg_is_in_recovery() then
    raise exception 'this server is a standby; run this text on the primary';
  end if;
  if to_regclass('tide.migrations') is not null then
    v_found := coalesce(
      (select jsonb_object_agg(m.name, m.sha256) from tide.migrations as m), '{}'
    ) || jsonb_strip_nulls(
      jsonb_build_object(
        'functions',
        (select i.functions_sha256 from tide.installs as i order by i.install_id desc limit 1)
      )
    );
  elsif exists (
    select from pg_class as c where c.relnamespace = to_regnamespace('tide')::oid
    union all
    select from pg_proc as p where p.pronamespace = to_regnamespace('tide')::oid
  ) then
    raise exception 'this database has another schema named tide; nothing was changed';
  end if;
  if v_found <> v_expected then
    raise exception 'the ledger tide.migrations is not as this text expects it'
      using detail = format('Expected %s, found %s.', v_expected, v_found),
            hint = 'Nothing was changed. Make a new text with: tidebase-pg upgrade --print';
  end if;
end;
$tide$;

-- header.sql
create schema if not exists tide;
comment on schema tide is 'Tidebase: durable runs, queues and steps. Installed and upgraded by tidebase-pg.';

create table if not exists tide.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default clock_timestamp(),
  applied_by text not null default session_user
);
comment on table tide.migrations is
  'Migrations applied to this database; a file whose sha256 differs is refused.';

create table if not exists tide.installs (
  install_id integer generated always as identity primary key,
  version text not null,
  functions_sha256 text not null,
  installed_at timestamptz not null default clock_timestamp(),
  installed_by text not null default session_user
);
comment on table tide.installs is
  'One row per change of the functions; the newest names the installed version.';

-- 0001_queues.sql
-- Queues, their slots and permits, and the settings of the installation. New tables only.
create table tide.settings (
  only_row boolean primary key default true,
  max_payload_bytes integer not null default 1048576,
  constraint settings_has_one_row check (only_row),
  constraint settings_max_payload_bytes_sane check (
    max_payload_bytes between 4096 and 104857600
  )
);
comment on table tide.settings is 'Settings of the whole installation; exactly one row.';
comment on column tide.settings.max_payload_bytes is
  'Largest input, metadata, result, error or output, in bytes of JSON text.';
insert into tide.settings default values;

create table tide.queues (
  queue text primary key,
  paused boolean not null default false,
  concurrency integer,
  rate_limit integer,
  rate_period interval not null default '1 minute',
  max_attempts integer,
  backoff_base interval,
  backoff_max interval,
  backoff_jitter double precision,
  retention interval,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint queues_concurrency_sane check (concurrency between 1 and 2000),
  constraint queues_rate_limit_sane check (rate_limit between 1 and 10000),
  constraint queues_rate_period_positive check (rate_period > interval '0'),
  constraint queues_max_attempts_sane check (max_attempts between 1 and 100),
  constraint queues_backoff_base_positive check (backoff_base >= interval '0'),
  constraint queues_backoff_max_positive check (backoff_max >= interval '0'),
  constraint queues_backoff_jitter_sane check (backoff_jitter between 0 and 1),
  constraint queues_retention_positive check (retention >= interval '0')
);
comment on table tide.queues is
  'Settings of queues; a queue without a row has the defaults and needs no creation.';
comment on column tide.queues.concurrency is
  'Most runs of this queue that may be running at once; null = no cap.';
comment on column tide.queues.rate_limit is
  'Most starts within any window of rate_period; null = no limit.';
comment on column tide.queues.max_attempts is
  'Attempts of a run that names none; null = 1.';
comment on column tide.queues.backoff_base is 'First delay after a failure; null = 5 seconds.';
comment on column tide.queues.backoff_max is 'Longest delay after a failure; null = 5 minutes.';
comment on column tide.queues.backoff_jitter is
  'Share of the delay added at random, 0 to 1; null = 0.1.';
comment on column tide.queues.retention is
  'How long finished runs are kept; null = for ever.';

create table tide.slots (
  queue text not null,
  slot integer not null,
  run_id uuid,
  primary key (queue, slot)
) with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  vacuum_truncate = off
);
comment on table tide.slots is
  'One row per place in a capped queue. A claim takes a free row with skip locked, so N rows '
  'allow N running runs without a lock on the queue.';
comment on column tide.slots.run_id is
  'The run that holds the place; not indexed, so that taking and freeing stay HOT.';

create table tide.permits (
  queue text not null,
  permit integer not null,
  available_at timestamptz not null,
  primary key (queue, permit)
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  vacuum_truncate = off
);
create index permits_available_idx on tide.permits (queue, available_at, permit);
comment on table tide.permits is
  'One row per start a rated queue allows in its period. A start takes a row and makes it '
  'available again one period later: an exact sliding window.';

insert into tide.migrations (name, sha256)
values ('0001_queues.sql', 'f9c111f7d8ceba29d98bbc0628f0cd01c2bd3c4d9c308f7793cf5f90bce309e6');

-- 0002_runs.sql
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

insert into tide.migrations (name, sha256)
values ('0002_runs.sql', '959649a8a3899ef8c0a7e671118f2089444d8b4b222375cf3ba074be0aceafe9');

-- 0003_steps.sql
-- Steps: the checkpoints of runs. New table only.
create table tide.steps (
  run_id uuid not null,
  name text not null,
  status text not null,
  attempt integer not null default 1,
  replay text not null,
  side_effects text[] not null default '{}',
  idempotency_key text,
  checkpoint_invariant text,
  verified_by text,
  timeout interval,
  input_hash bytea not null,
  lease_id uuid,
  started_at timestamptz not null,
  finished_at timestamptz,
  output jsonb,
  error jsonb,
  decided_by text,
  primary key (run_id, name),
  constraint steps_status_known check (
    status in ('running', 'completed', 'failed_retryable', 'manual_review', 'failed')
  ),
  constraint steps_replay_known check (replay in ('auto', 'manual', 'never')),
  constraint steps_finished_iff_not_running check (
    (finished_at is null) = (status = 'running')
  ),
  constraint steps_attempt_positive check (attempt >= 1)
) with (
  fillfactor = 85,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_insert_scale_factor = 0.05
);
comment on table tide.steps is
  'Checkpoints: one row per run and step name, the unit of replay.';
comment on column tide.steps.attempt is 'How often the step was begun.';
comment on column tide.steps.replay is
  'What an ambiguous end means, frozen at the first begin: auto = execute again, manual = an '
  'operator decides, never = the run fails.';
comment on column tide.steps.side_effects is
  'What the step does outside its run; empty or only read = nothing that could happen twice.';
comment on column tide.steps.input_hash is
  'sha256 of the canonical input; a replay with another input is refused.';
comment on column tide.steps.lease_id is
  'The lease under which the step was last begun; another lease means its worker is gone.';
comment on column tide.steps.decided_by is 'The operator who resolved a review.';

insert into tide.migrations (name, sha256)
values ('0003_steps.sql', 'c317f1017b90a022c365918871bc68440d44e4fc0c201197884e4ef82410c61d');

-- 0004_events.sql
-- The event log of runs. New table only.
create table tide.events (
  run_id uuid not null,
  seq integer not null,
  type text not null,
  created_at timestamptz not null,
  payload jsonb not null,
  primary key (run_id, seq)
) with (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_insert_scale_factor = 0.05
);
comment on table tide.events is
  'What happened to each run: seq 1, 2, 3 without a gap, in commit order. Append-only.';

insert into tide.migrations (name, sha256)
values ('0004_events.sql', '79ac49e04ab98060809a5d8eca20709ea60ed4e27d5d831ffc06d510c9098dea');

-- 0005_upkeep.sql
-- What upkeep remembers: ticks, claim floors, counts, workers, failed sweeps. New tables only.
create table tide.ticks (
  only_row boolean primary key default true,
  next_at timestamptz not null default '-infinity',
  settled_at timestamptz not null default '-infinity',
  pending_at timestamptz,
  pending_xid xid8,
  counted_until timestamptz not null default date_trunc('minute', clock_timestamp()),
  reconciled_at timestamptz,
  constraint ticks_has_one_row check (only_row)
) with (fillfactor = 50);
comment on table tide.ticks is 'When upkeep last ran; exactly one row.';
comment on column tide.ticks.next_at is 'The next claim after this time does a small tick.';
comment on column tide.ticks.settled_at is
  'Every transaction that wrote before this time has ended.';
comment on column tide.ticks.pending_at is
  'Becomes settled_at once every transaction below pending_xid has ended.';
comment on column tide.ticks.counted_until is
  'tide.queue_minutes is complete up to this time.';
comment on column tide.ticks.reconciled_at is 'When tide.reconcile last finished a round.';
insert into tide.ticks default values;

create table tide.claim_floors (
  queue text not null,
  priority integer not null,
  run_at timestamptz not null,
  primary key (queue, priority)
) with (fillfactor = 50);
comment on table tide.claim_floors is
  'Where claims start to look: below lie only entries of runs that are gone. A hint, computed '
  'again by each tick.';

create table tide.queue_minutes (
  queue text not null,
  minute timestamptz not null,
  completed bigint not null,
  failed bigint not null,
  cancelled bigint not null,
  primary key (queue, minute)
);
comment on table tide.queue_minutes is
  'Runs of each queue that ended, by minute, for two days; behind tide.queue_stats.';

create table tide.workers (
  worker text primary key,
  queues text[] not null,
  workflows text[],
  seen_at timestamptz not null
) with (fillfactor = 70);
comment on table tide.workers is
  'Workers that claim, with a name; seen_at is written at most every ten seconds.';
comment on column tide.workers.workflows is 'null = every workflow.';

create table tide.sweep_failures (
  sweep text not null,
  key text not null,
  error text not null,
  sqlstate text not null,
  failures integer not null default 1,
  failed_at timestamptz not null,
  retry_at timestamptz not null,
  primary key (sweep, key)
);
comment on table tide.sweep_failures is
  'Rows that upkeep could not handle; left alone until retry_at so that others proceed.';
comment on column tide.sweep_failures.key is 'The run, or queue/slot, that failed.';

insert into tide.migrations (name, sha256)
values ('0005_upkeep.sql', '1418f8b977be0bdf86a6d5a683e605e4863a0e31a437871999314243c0716bf5');

-- 0006_waiting.sql
-- What runs wait for and come from: columns on runs and steps, then gates, children, waits and
-- signals. Short locks: columns are added without a rewrite; the rest are new tables.
alter table tide.runs
add column parent_id uuid,
add column forked_from uuid,
add column waiting_for text,
add column open_gates integer not null default 0,
add column budget jsonb;
comment on column tide.runs.waiting_on is
  'Why a parked run waits: review, gate, children, timer, event or budget.';
comment on column tide.runs.waiting_for is
  'Which one it waits for: a gate id, a name, or for children the condition.';
comment on column tide.runs.parent_id is 'The run that spawned this one.';
comment on column tide.runs.forked_from is 'The run whose checkpoints this one began with.';
comment on column tide.runs.open_gates is 'Gates of this run nobody has decided yet.';
comment on column tide.runs.budget is
  'Limits {"max_cost_usd", "max_tokens", "max_steps"}; null = those of the queue, taken at claim.';
alter table tide.runs_active drop constraint runs_active_waits_for_known;
alter table tide.runs_active add constraint runs_active_waits_for_known check (
  waiting_on in ('review', 'gate', 'children', 'timer', 'event', 'budget')
);
alter table tide.queues add column budget jsonb;
comment on column tide.queues.budget is 'Budget of runs that have none of their own.';

alter table tide.steps add column position integer not null default 0;
comment on column tide.steps.position is
  'seq of the event that first started the step: the order of checkpoints.';

create table tide.gates (
  run_id uuid not null,
  name text not null,
  gate_id uuid not null,
  status text not null,
  prompt text not null,
  data jsonb not null,
  capability text,
  token_hash bytea,
  expires_at timestamptz,
  on_timeout text not null,
  actor text,
  payload jsonb,
  created_at timestamptz not null,
  resolved_at timestamptz,
  primary key (run_id, name),
  constraint gates_status_known check (
    status in ('pending', 'approved', 'rejected', 'canceled')
  ),
  constraint gates_on_timeout_known check (
    on_timeout in ('approved', 'rejected', 'canceled')
  ),
  constraint gates_resolved_iff_decided check (
    (resolved_at is null) = (status = 'pending')
  )
);
create unique index gates_gate_id_uidx on tide.gates (gate_id);
create index gates_pending_idx on tide.gates (created_at) where status = 'pending';
create index gates_expiring_idx on tide.gates (expires_at)
where status = 'pending' and expires_at is not null;
comment on table tide.gates is
  'Decisions that people make about runs; one row per run and gate name.';
comment on column tide.gates.token_hash is
  'sha256 of the one-time token; the token itself is shown once and never stored.';
comment on column tide.gates.on_timeout is 'The decision when nobody has decided by expires_at.';

create table tide.run_edges (
  parent_id uuid not null,
  edge text not null,
  child_id uuid not null,
  edge_type text not null default 'child',
  detached boolean not null default false,
  awaited boolean not null default false,
  child_status text,
  noticed boolean not null default true,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  primary key (parent_id, edge),
  constraint run_edges_child_status_known check (
    child_status in ('completed', 'failed', 'cancelled')
  )
);
create index run_edges_child_idx on tide.run_edges (child_id);
create index run_edges_open_idx on tide.run_edges (parent_id) where child_status is null;
create index run_edges_awaited_idx on tide.run_edges (parent_id)
where awaited and child_status is null;
create index run_edges_unnoticed_idx on tide.run_edges (parent_id) where not noticed;
comment on table tide.run_edges is 'Which run spawned which; one row per parent and edge name.';
comment on column tide.run_edges.detached is 'The child outlives a cancellation of its parent.';
comment on column tide.run_edges.awaited is 'The parent is, or was, parked until this child ends.';
comment on column tide.run_edges.child_status is 'How the child ended; null while it is active.';
comment on column tide.run_edges.noticed is
  'false = upkeep has still to check whether this end wakes the parent.';

create table tide.cascades (
  parent_id uuid primary key,
  reason text,
  actor text,
  created_at timestamptz not null
);
comment on table tide.cascades is
  'Cancelled runs whose children have still to be cancelled, in transactions of their own.';

create table tide.waits (
  run_id uuid not null,
  kind text not null,
  name text not null,
  status text not null,
  due_at timestamptz,
  payload jsonb,
  created_at timestamptz not null,
  ended_at timestamptz,
  primary key (run_id, kind, name),
  constraint waits_kind_known check (kind in ('timer', 'event')),
  constraint waits_status_known check (status in ('pending', 'over', 'received', 'timed_out')),
  constraint waits_ended_iff_not_pending check ((ended_at is null) = (status = 'pending'))
);
create index waits_due_idx on tide.waits (due_at)
where status = 'pending' and due_at is not null;
comment on table tide.waits is
  'Sleeps and waits for events; what became of one is kept, so that it replays.';
comment on column tide.waits.due_at is 'End of the sleep, or time-out of the wait.';

create table tide.signals (
  run_id uuid not null,
  name text not null,
  payload jsonb,
  created_at timestamptz not null,
  primary key (run_id, name)
);
comment on table tide.signals is
  'Events sent to runs by name: the first one counts, and is kept until somebody waits for it.';

insert into tide.migrations (name, sha256)
values ('0006_waiting.sql', '964903c61e1a8591528e76cbf5816943542d7c22b439e39c0298520dc69804b5');

-- 0007_state_and_usage.sql
-- Versioned state, usage and who watches which run. New tables only.
create table tide.state_streams (
  run_id uuid not null,
  stream text not null,
  version integer not null,
  value jsonb not null,
  updated_at timestamptz not null,
  primary key (run_id, stream)
);
comment on table tide.state_streams is 'The current value of each state stream of a run.';

create table tide.state_versions (
  run_id uuid not null,
  stream text not null,
  version integer not null,
  value jsonb not null,
  label text,
  reason text,
  importance text not null,
  metadata jsonb not null,
  created_by text,
  created_at timestamptz not null,
  primary key (run_id, stream, version),
  constraint state_versions_importance_known check (
    importance in ('transient', 'normal', 'checkpoint', 'milestone')
  )
);
comment on table tide.state_versions is
  'Every value a stream has had: versions 1, 2, 3 without a gap.';

create table tide.usage (
  run_id uuid not null,
  usage_id uuid not null,
  request_key text,
  kind text not null,
  step text,
  provider text,
  model text,
  label text,
  quantity numeric,
  unit text,
  input_tokens bigint,
  output_tokens bigint,
  total_tokens bigint,
  cost_usd numeric,
  metadata jsonb not null,
  created_at timestamptz not null,
  primary key (run_id, usage_id),
  constraint usage_not_negative check (
    quantity >= 0 and input_tokens >= 0 and output_tokens >= 0 and total_tokens >= 0
    and cost_usd >= 0
  )
);
create unique index usage_request_key_uidx on tide.usage (run_id, request_key)
where request_key is not null;
create index usage_created_idx on tide.usage (created_at);
comment on table tide.usage is 'What runs spent: one row per record, append-only.';
comment on column tide.usage.request_key is 'The same key counts once per run.';

create table tide.spending (
  run_id uuid primary key,
  cost_usd numeric not null default 0,
  tokens bigint not null default 0,
  steps bigint not null default 0
) with (fillfactor = 70);
comment on table tide.spending is
  'What runs with a budget spent, their descendants included; no row = nothing yet.';
comment on column tide.spending.steps is 'Executions of steps begun.';

create table tide.watchers (
  run_id uuid primary key,
  until timestamptz not null
);
comment on table tide.watchers is
  'Runs somebody follows: only their events are notified on channel tide_events.';

insert into tide.migrations (name, sha256)
values ('0007_state_and_usage.sql', '6a32de111de7fa0f6328e1ee0950ba32cb49b2c175506f6a3a3d5897a0d30cf8');

-- functions/children/_add_child.sql
create or replace function tide._add_child(parent tide.runs, child tide.runs, options jsonb)
returns tide.run_edges
language plpgsql
volatile
as $$
declare
  v_edge tide.run_edges;
begin
  insert into tide.run_edges as e (
    parent_id, edge, child_id, edge_type, detached, metadata, created_at
  )
  values (
    parent.run_id,
    tide._valid_text('edge', _add_child.options ->> 'edge', 256),
    child.run_id,
    coalesce(tide._option_text('edge_type', _add_child.options -> 'edge_type', 128), 'child'),
    coalesce(tide._option_boolean('detached', _add_child.options -> 'detached'), false),
    coalesce(
      tide._valid_payload(
        'edge_metadata', nullif(_add_child.options -> 'edge_metadata', 'null')
      ),
      '{}'
    ),
    child.created_at
  )
  returning e.* into v_edge;
  insert into tide.runs_active (
    run_id, workflow, queue, status, priority, max_attempts, last_seq, ready, run_at, created_at,
    deadline_at, input, metadata, backoff, budget, deadline, parent_id
  )
  values (
    child.run_id,
    child.workflow,
    child.queue,
    case when child.queue is null then 'pending' else 'queued' end,
    child.priority,
    child.max_attempts,
    1,
    child.queue is not null and child.ready,
    child.run_at,
    child.created_at,
    child.deadline_at,
    child.input,
    child.metadata,
    child.backoff,
    child.budget,
    child.deadline,
    child.parent_id
  );
  if child.queue is not null and child.ready and child.run_at < child.created_at then
    perform tide._lower_floor(child.queue, child.priority, child.run_at);
  end if;
  perform tide._emit(
    array[child.run_id],
    array[1],
    case when child.queue is null then 'run.created' else 'run.enqueued' end,
    array[
      tide._enqueued_payload(child)
      || jsonb_build_object('parent_id', parent.run_id, 'edge', v_edge.edge)
    ]
  );
  perform tide._log(
    parent.run_id,
    'run.child.created',
    jsonb_build_object(
      'edge', v_edge.edge,
      'child_id', child.run_id,
      'workflow', child.workflow,
      'queue', child.queue
    )
  );
  return v_edge;
end;
$$;

comment on function tide._add_child is 'Insert a child of a locked run, with its edge and both events.';

-- functions/children/_begin_cascade.sql
create or replace function tide._begin_cascade(run_ids uuid[], reason text, actor text)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.cascades (parent_id, reason, actor, created_at)
  select
    p.run_id,
    _begin_cascade.reason,
    _begin_cascade.actor,
    tide._now()
  from unnest(_begin_cascade.run_ids) as p(run_id)
  where exists (
    select
    from tide.run_edges as e
    where e.parent_id = p.run_id
      and e.child_status is null
      and not e.detached
  )
  on conflict on constraint cascades_pkey do nothing;
end;
$$;

comment on function tide._begin_cascade is
  'Remember that the children of cancelled runs have to follow, later: in this transaction they '
  'would deadlock with a child that completes.';

-- functions/children/_cancel_children.sql
create or replace function tide._cancel_children(parent_id uuid, max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_cascade tide.cascades;
  v_run_ids uuid[];
begin
  select c.*
  into v_cascade
  from tide.cascades as c
  where c.parent_id = _cancel_children.parent_id
  for no key update skip locked;
  if not found then
    return 0;
  end if;
  v_run_ids := array(
    select r.run_id
    from tide.run_edges as e
    join tide.runs_active as r on r.run_id = e.child_id
    where e.parent_id = v_cascade.parent_id
      and e.child_status is null
      and not e.detached
    order by e.edge
    limit _cancel_children.max_runs
    for no key update of r skip locked
  );
  if cardinality(v_run_ids) > 0 then
    perform tide._finish(
      v_run_ids,
      'cancelled',
      reason => coalesce(v_cascade.reason, 'parent cancelled'),
      actor => v_cascade.actor
    );
  elsif not exists (
    select
    from tide.run_edges as e
    where e.parent_id = v_cascade.parent_id
      and e.child_status is null
      and not e.detached
  ) then
    delete from tide.cascades as c
    where c.parent_id = v_cascade.parent_id;
  end if;
  return cardinality(v_run_ids);
end;
$$;

comment on function tide._cancel_children is
  'Cancel some children of a cancelled run and return how many; those that are locked come later.';

-- functions/children/_children_ended.sql
-- Nobody waits for the parent's row here: a thousand children may end at once. The one that sees no
-- other awaited child wakes the parent if it can have the row; two that end at the same instant do
-- not see each other, and the mark they leave lets the next tick look again. Not "is null": then the
-- index of open edges would fit, and a plan made while they were few would read them all.
create or replace function tide._children_ended(run_ids uuid[], status text)
returns void
language plpgsql
volatile
as $$
declare
  v_parent_id uuid;
begin
  if cardinality(run_ids) > 1 then
    -- In the order in which a parent marks the edges it waits for.
    perform
    from tide.run_edges as e
    where e.child_id = any (_children_ended.run_ids)
      and coalesce(e.child_status, 'active') = 'active'
    order by e.child_id
    for no key update;
  end if;
  for v_parent_id in
    with ended as (
      update tide.run_edges as e
      set
        child_status = _children_ended.status,
        noticed = not e.awaited
      where e.child_id = any (_children_ended.run_ids)
        and coalesce(e.child_status, 'active') = 'active'
      returning
        e.parent_id,
        e.awaited
    )
    select distinct d.parent_id
    from ended as d
    where d.awaited
  loop
    perform tide._wake_parent(v_parent_id);
  end loop;
end;
$$;

comment on function tide._children_ended is
  'Note on their edges that children ended, and wake parents that waited for them.';

-- functions/children/_children_suffice.sql
create or replace function tide._children_suffice(parent_id uuid, mode text)
returns boolean
language plpgsql
volatile
as $$
begin
  if not exists (
    select
    from tide.run_edges as e
    where e.parent_id = _children_suffice.parent_id
      and e.awaited
      and e.child_status is null
  ) then
    return true;
  elsif mode = 'any' then
    return exists (
      select
      from tide.run_edges as e
      where e.parent_id = _children_suffice.parent_id
        and e.awaited
        and e.child_status is not null
    );
  elsif mode = 'fail_fast' then
    return exists (
      select
      from tide.run_edges as e
      where e.parent_id = _children_suffice.parent_id
        and e.awaited
        and e.child_status in ('failed', 'cancelled')
    );
  end if;
  return false;
end;
$$;

comment on function tide._children_suffice is
  'Whether the awaited children of a run have ended: all of them, any, or one failed (fail_fast).';

-- functions/children/_end_due_waits.sql
create or replace function tide._end_due_waits(max_waits integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_wait tide.waits;
  v_run tide.runs;
  v_ended integer := 0;
begin
  for v_wait in
    select w.*
    from tide.waits as w
    where w.status = 'pending'
      and w.due_at is not null
      and w.due_at <= v_now
    order by w.due_at
    limit _end_due_waits.max_waits
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = v_wait.run_id
    for no key update skip locked;
    if found then
      v_wait := tide._end_wait(
        v_wait, case when v_wait.kind = 'timer' then 'over' else 'timed_out' end, null
      );
      if v_wait.run_id is not null then
        v_ended := v_ended + 1;
        if v_run.waiting_on = v_wait.kind and v_run.waiting_for = v_wait.name then
          perform tide._resume(
            v_run,
            jsonb_build_object(
              'waited_on', v_wait.kind, 'name', v_wait.name, 'status', v_wait.status
            )
          );
        end if;
      end if;
    elsif not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_wait.run_id
    ) then
      -- The run has ended: nobody waits any more.
      perform tide._end_wait(
        v_wait, case when v_wait.kind = 'timer' then 'over' else 'timed_out' end, null
      );
      v_ended := v_ended + 1;
    end if;
  end loop;
  return v_ended;
end;
$$;

comment on function tide._end_due_waits is
  'End sleeps and time out waits whose time has come, and wake their runs.';

-- functions/children/_end_wait.sql
create or replace function tide._end_wait(wait tide.waits, status text, payload jsonb)
returns tide.waits
language plpgsql
volatile
as $$
declare
  v_wait tide.waits;
begin
  update tide.waits as w
  set
    status = _end_wait.status,
    payload = _end_wait.payload,
    ended_at = tide._now()
  where w.run_id = wait.run_id
    and w.kind = wait.kind
    and w.name = wait.name
    and w.status = 'pending'
  returning w.* into v_wait;
  return v_wait;
end;
$$;

comment on function tide._end_wait is 'Record how a wait of a locked run ended: it replays so.';

-- functions/children/_follow_cascades.sql
create or replace function tide._follow_cascades(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_parent_id uuid;
  v_handled integer := 0;
begin
  for v_parent_id in
    select c.parent_id
    from tide.cascades as c
    order by c.created_at
    limit 10
  loop
    v_handled := v_handled + tide._cancel_children(v_parent_id, max_runs);
    -- A cascade that went counts as well: behind it others may wait for their turn.
    if not exists (
      select
      from tide.cascades as c
      where c.parent_id = v_parent_id
    ) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end;
$$;

comment on function tide._follow_cascades is
  'Cancel children of cancelled runs, a batch of each; returns 0 when there is nothing left to do.';

-- functions/children/_notice_children.sql
create or replace function tide._notice_children(max_parents integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_parent_id uuid;
  v_noticed integer := 0;
begin
  for v_parent_id in
    select distinct u.parent_id
    from (
      select e.parent_id
      from tide.run_edges as e
      where not e.noticed
      order by e.parent_id
      limit 10 * _notice_children.max_parents
    ) as u
  loop
    perform
    from tide.runs_active as r
    where r.run_id = v_parent_id
    for no key update skip locked;
    -- Somebody holds the parent: its marks stay for the next tick. Gone: they go as well.
    if found or not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_parent_id
    ) then
      -- Marks go before the look: a child that ends between the two leaves a mark that stays.
      update tide.run_edges as e
      set noticed = true
      where e.parent_id = v_parent_id
        and not e.noticed;
      perform tide._wake_parent(v_parent_id);
      v_noticed := v_noticed + 1;
    end if;
  end loop;
  return v_noticed;
end;
$$;

comment on function tide._notice_children is
  'Look again at parents whose children ended at the same instant; returns how many were looked at.';

-- functions/children/_parse_child.sql
create or replace function tide._parse_child(parent tide.runs, child jsonb)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_argument constant text := 'children[' || coalesce(child -> 'edge', 'null')::text || ']';
  v_queue constant text := tide._option_text(
    v_argument || '.queue', child -> 'queue', 128
  );
  v_max_attempts integer;
  v_run tide.runs;
begin
  if v_queue is not null then
    perform tide._valid_name(v_argument || '.queue', v_queue);
    select q.max_attempts
    into v_max_attempts
    from tide.queues as q
    where q.queue = v_queue;
  end if;
  v_run := tide._parse_run(
    v_argument,
    v_queue,
    coalesce(v_max_attempts, 1),
    tide._now(),
    child - '{edge,queue,edge_type,edge_metadata,detached}'::text[]
  );
  v_run.parent_id := parent.run_id;
  return v_run;
end;
$$;

comment on function tide._parse_child is
  'A child run out of an object of spawn_many, or 22023 naming the edge and the argument.';

-- functions/children/_refuse_other_child.sql
create or replace function tide._refuse_other_child(known tide.run_edges, child jsonb)
returns void
language plpgsql
stable
as $$
declare
  v_child tide.runs;
begin
  select r.*
  into v_child
  from tide.runs as r
  where r.run_id = known.child_id;
  if v_child.workflow is distinct from child ->> 'workflow'
    or v_child.input is distinct from coalesce(nullif(child -> 'input', 'null'), '{}')
  then
    raise exception 'edge % of run % leads to another child',
        quote_literal(known.edge), known.parent_id
      using errcode = 'TD020',
            detail = format('It is run %s of workflow %s.', known.child_id, v_child.workflow),
            hint = 'Give a child with another workflow or input another edge name.';
  end if;
end;
$$;

comment on function tide._refuse_other_child is
  'TD020 when an edge is asked for with another workflow or input.';

-- functions/children/_wait.sql
create or replace function tide._wait(
  run tide.runs,
  kind text,
  name text,
  duration interval
)
returns tide.waits
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_wait tide.waits;
begin
  insert into tide.waits (run_id, kind, name, status, due_at, created_at)
  values (run.run_id, _wait.kind, _wait.name, 'pending', v_now + _wait.duration, v_now)
  on conflict on constraint waits_pkey do nothing;
  select w.*
  into v_wait
  from tide.waits as w
  where w.run_id = run.run_id
    and w.kind = _wait.kind
    and w.name = _wait.name;
  return v_wait;
end;
$$;

comment on function tide._wait is
  'The wait of a locked run with this name, made if need be.';

-- functions/children/_wake_parent.sql
create or replace function tide._wake_parent(parent_id uuid)
returns boolean
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  select r.*
  into v_run
  from tide.runs_active as r
  where r.run_id = _wake_parent.parent_id
    and r.waiting_on = 'children'
  for no key update skip locked;
  if found and tide._children_suffice(v_run.run_id, v_run.waiting_for) then
    perform tide._resume(
      v_run, jsonb_build_object('waited_on', 'children', 'mode', v_run.waiting_for)
    );
    return true;
  end if;
  return false;
end;
$$;

comment on function tide._wake_parent is
  'Wake a run parked on its children if they suffice and nobody holds its row.';

-- functions/children/await_children.sql
create or replace function tide.await_children(
  run_id uuid,
  lease_id uuid,
  edges text[] default null,
  mode text default 'all'
)
returns table (
  parked boolean,
  edge text,
  child_id uuid,
  status text,
  result jsonb,
  error jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._hold(await_children.run_id, await_children.lease_id);
  v_missing text;
begin
  if await_children.mode is null
    or await_children.mode not in ('all', 'any', 'fail_fast')
  then
    raise exception 'mode is not known: %',
        coalesce(quote_literal(left(await_children.mode, 200)), 'null')
      using errcode = '22023',
            hint = 'Give all, any or fail_fast.';
  end if;
  select a.edge
  into v_missing
  from unnest(await_children.edges) as a(edge)
  where not exists (
    select
    from tide.run_edges as e
    where e.parent_id = v_run.run_id
      and e.edge = a.edge
  )
  order by a.edge
  limit 1;
  if found then
    raise exception 'run % has no child %', v_run.run_id, coalesce(quote_literal(v_missing), 'null')
      using errcode = 'TD010',
            hint = 'Spawn a child before waiting for it.';
  end if;

  -- In the order in which children that end together lock their edges.
  perform
  from tide.run_edges as e
  where e.parent_id = v_run.run_id
    and e.awaited is distinct from (
      await_children.edges is null or e.edge = any (await_children.edges)
    )
  order by e.child_id
  for no key update;
  update tide.run_edges as e
  set awaited = await_children.edges is null or e.edge = any (await_children.edges)
  where e.parent_id = v_run.run_id
    and e.awaited is distinct from (
      await_children.edges is null or e.edge = any (await_children.edges)
    );
  -- A later statement: a child that ended while its edge was being marked is seen here.
  if not tide._children_suffice(v_run.run_id, await_children.mode) then
    perform tide._refuse_overdue(v_run);
    perform tide._park(v_run, 'children', await_children.mode);
    return query
    select true, null::text, null::uuid, null::text, null::jsonb, null::jsonb;
    return;
  end if;
  return query
  select
    false,
    e.edge,
    e.child_id,
    r.status,
    r.result,
    r.error
  from tide.run_edges as e
  join tide.runs as r on r.run_id = e.child_id
  where e.parent_id = v_run.run_id
    and e.awaited
  order by
    e.created_at,
    e.edge;
end;
$$;

comment on function tide.await_children is
  'Children of a leased run that ended, or park the run until they have (parked = true: drop it): all, '
  'any, or fail_fast = all unless one fails. edges null = every child. In modes any and fail_fast '
  'children still active are among the rows.';

-- functions/children/await_event.sql
create or replace function tide.await_event(
  run_id uuid,
  lease_id uuid,
  name text,
  timeout interval default null
)
returns table (parked boolean, received boolean, payload jsonb)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', await_event.name, 256);
  v_timeout constant interval := tide._valid_timeout(await_event.timeout);
  v_run constant tide.runs := tide._hold(await_event.run_id, await_event.lease_id);
  v_wait tide.waits;
  v_signal tide.signals;
begin
  v_wait := tide._wait(v_run, 'event', v_name, v_timeout);
  if v_wait.status = 'pending' then
    select s.*
    into v_signal
    from tide.signals as s
    where s.run_id = v_run.run_id
      and s.name = v_name;
    if found then
      v_wait := tide._end_wait(v_wait, 'received', v_signal.payload);
    elsif v_wait.due_at <= tide._now() then
      v_wait := tide._end_wait(v_wait, 'timed_out', null);
    else
      perform tide._refuse_overdue(v_run);
      perform tide._park(
        v_run, 'event', v_name, jsonb_build_object('due_at', v_wait.due_at)
      );
    end if;
  end if;
  return query
  select
    v_wait.status = 'pending',
    v_wait.status = 'received',
    v_wait.payload;
end;
$$;

comment on function tide.await_event is
  'The event sent to a leased run under a name, or park the run until it comes (parked = true: drop '
  'it) or the timeout is over (received = false). What was answered once replays.';

-- functions/children/cancel_children.sql
create or replace function tide.cancel_children(run_id uuid, max_runs integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._find_run(cancel_children.run_id);
  return tide._cancel_children(
    cancel_children.run_id,
    tide._valid_integer('max_runs', cancel_children.max_runs, 1, 10000)
  );
end;
$$;

comment on function tide.cancel_children is
  'Let active children follow a cancelled run at once, in a transaction of their own; upkeep does it '
  'otherwise. Returns how many were cancelled: repeat until 0. Unknown run: TD010.';

-- functions/children/list_children.sql
create or replace function tide.list_children(run_id uuid)
returns table (
  edge text,
  child_id uuid,
  edge_type text,
  workflow text,
  status text,
  detached boolean,
  created_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._find_run(list_children.run_id);
  return query
  select
    e.edge,
    e.child_id,
    e.edge_type,
    r.workflow,
    r.status,
    e.detached,
    e.created_at
  from tide.run_edges as e
  join tide.runs as r on r.run_id = e.child_id
  where e.parent_id = list_children.run_id
  order by
    e.created_at,
    e.edge;
end;
$$;

comment on function tide.list_children is 'The children of a run, oldest first; unknown run: TD010.';

-- functions/children/send_event.sql
create or replace function tide.send_event(
  run_id uuid,
  name text,
  payload jsonb default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', send_event.name, 256);
  v_payload constant jsonb := tide._valid_payload('payload', send_event.payload);
  v_run constant tide.runs := tide._lock_active(send_event.run_id);
  v_wait tide.waits;
begin
  insert into tide.signals (run_id, name, payload, created_at)
  values (v_run.run_id, v_name, v_payload, tide._now())
  on conflict on constraint signals_pkey do nothing;
  if not found then
    return false;
  end if;
  -- Parked on it or not: whoever has begun to wait must not time out any more.
  v_wait.run_id := v_run.run_id;
  v_wait.kind := 'event';
  v_wait.name := v_name;
  perform tide._end_wait(v_wait, 'received', v_payload);
  if v_run.waiting_on = 'event' and v_run.waiting_for = v_name then
    perform tide._resume(
      v_run, jsonb_build_object('waited_on', 'event', 'name', v_name, 'status', 'received')
    );
  end if;
  return true;
end;
$$;

comment on function tide.send_event is
  'Send an active run an event by name; the first one counts and is kept until the run waits for it. '
  'Returns whether this was the first.';

-- functions/children/sleep.sql
create or replace function tide.sleep(
  run_id uuid,
  lease_id uuid,
  name text,
  duration interval
)
returns table (parked boolean, due_at timestamptz)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', sleep.name, 256);
  v_duration constant interval := tide._valid_interval(
    'duration', sleep.duration, '0', '3650 days'
  );
  v_run constant tide.runs := tide._hold(sleep.run_id, sleep.lease_id);
  v_wait tide.waits;
begin
  v_wait := tide._wait(v_run, 'timer', v_name, v_duration);
  if v_wait.status = 'pending' and v_wait.due_at <= tide._now() then
    v_wait := tide._end_wait(v_wait, 'over', null);
  elsif v_wait.status = 'pending' then
    perform tide._refuse_overdue(v_run);
    perform tide._park(
      v_run, 'timer', v_name, jsonb_build_object('due_at', v_wait.due_at)
    );
  end if;
  return query select v_wait.status = 'pending', v_wait.due_at;
end;
$$;

comment on function tide.sleep is
  'Let a leased run wait for a time without a worker: parked = true, drop the run. The time counts '
  'from the first call; once it is over the same name never waits again.';

-- functions/children/spawn.sql
create or replace function tide.spawn(
  run_id uuid,
  lease_id uuid,
  edge text,
  workflow text,
  input jsonb default '{}',
  queue text default null,
  options jsonb default '{}'
)
returns table (child_id uuid, created boolean, status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._hold(spawn.run_id, spawn.lease_id);
  v_child jsonb;
  v_known tide.run_edges;
  v_new tide.runs;
begin
  perform tide._refuse_overdue(v_run);
  perform tide._known_keys(
    'options',
    coalesce(spawn.options, '{}'),
    array[
      'priority', 'delay', 'run_at', 'max_attempts', 'deadline', 'metadata', 'backoff', 'budget',
      'edge_type', 'edge_metadata', 'detached'
    ]
  );
  v_child := coalesce(spawn.options, '{}') || jsonb_build_object(
    'edge', spawn.edge,
    'workflow', spawn.workflow,
    'input', spawn.input,
    'queue', spawn.queue
  );
  select e.*
  into v_known
  from tide.run_edges as e
  where e.parent_id = v_run.run_id
    and e.edge = spawn.edge;
  if found then
    perform tide._refuse_other_child(v_known, v_child);
  else
    v_new := tide._parse_child(v_run, v_child);
    v_known := tide._add_child(v_run, v_new, v_child);
  end if;
  return query
  select
    v_known.child_id,
    v_new.run_id is not distinct from v_known.child_id,
    c.status
  from tide.runs as c
  where c.run_id = v_known.child_id;
end;
$$;

comment on function tide.spawn is
  'Make a child of a leased run; the same edge again gives the same child, with another workflow or '
  'input TD020. queue null = a plain run the parent begins itself.';

-- functions/children/spawn_many.sql
-- One lock on the parent for any number of children.
create or replace function tide.spawn_many(run_id uuid, lease_id uuid, children jsonb)
returns table (edge text, child_id uuid, created boolean, status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._hold(spawn_many.run_id, spawn_many.lease_id);
  v_child jsonb;
  v_known tide.run_edges;
  v_new tide.runs;
begin
  perform tide._refuse_overdue(v_run);
  perform tide._valid_elements(
    'children',
    spawn_many.children,
    array[
      'edge', 'workflow', 'input', 'queue', 'priority', 'delay', 'run_at', 'max_attempts',
      'deadline', 'metadata', 'backoff', 'budget', 'edge_type', 'edge_metadata', 'detached'
    ],
    10000
  );
  for v_child in
    select e.element
    from jsonb_array_elements(spawn_many.children) with ordinality as e(element, ordinality)
    order by e.ordinality
  loop
    v_new := null;
    select e.*
    into v_known
    from tide.run_edges as e
    where e.parent_id = v_run.run_id
      and e.edge = v_child ->> 'edge';
    if found then
      perform tide._refuse_other_child(v_known, v_child);
    else
      v_new := tide._parse_child(v_run, v_child);
      v_known := tide._add_child(v_run, v_new, v_child);
    end if;
    return query
    select
      v_known.edge,
      v_known.child_id,
      v_new.run_id is not distinct from v_known.child_id,
      c.status
    from tide.runs as c
    where c.run_id = v_known.child_id;
  end loop;
end;
$$;

comment on function tide.spawn_many is
  'Make children of a leased run, one for each edge name: an array of objects with edge, workflow and '
  'the arguments of enqueue; queue null = a plain run the parent begins itself. An edge that exists '
  'gives its child; with another workflow or input it is TD020.';

-- functions/events/_emit.sql
create or replace function tide._emit(
  run_ids uuid[],
  seqs integer[],
  type text,
  payloads jsonb[]
)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.events (run_id, seq, type, created_at, payload)
  select
    e.run_id,
    e.seq,
    _emit.type,
    tide._now(),
    e.payload
  from unnest(_emit.run_ids, _emit.seqs, _emit.payloads) as e(run_id, seq, payload);
  -- NOTIFY takes a lock of the whole database at commit: only for runs somebody follows.
  perform pg_notify('tide_events', w.run_id::text)
  from tide.watchers as w
  where w.run_id = any (_emit.run_ids);
end;
$$;

comment on function tide._emit is
  'Append events of one type; each seq was drawn from the locked run row by the caller.';

-- functions/events/_log.sql
create or replace function tide._log(run_id uuid, type text, payload jsonb)
returns void
language plpgsql
volatile
as $$
declare
  v_seq integer;
begin
  update tide.runs_active as r
  set
    last_seq = r.last_seq + 1,
    leased_until = case when r.status = 'running' then tide._now() + r.lease end
  where r.run_id = _log.run_id
  returning r.last_seq into v_seq;
  if not found then
    update tide.runs_finished as r
    set last_seq = r.last_seq + 1
    where r.run_id = _log.run_id
    returning r.last_seq into v_seq;
  end if;
  perform tide._emit(array[_log.run_id], array[v_seq], _log.type, array[_log.payload]);
end;
$$;

comment on function tide._log is
  'Log an event of a run the caller has locked; a running run has its lease renewed.';

-- functions/events/list_events.sql
create or replace function tide.list_events(
  run_id uuid,
  after integer default 0,
  max_events integer default 1000
)
returns setof tide.events
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tide._valid_integer(
    'max_events', list_events.max_events, 1, 10000
  );
begin
  return query
  select e.*
  from tide.events as e
  where e.run_id = list_events.run_id
    and e.seq > coalesce(list_events.after, 0)
  order by e.seq
  limit v_limit;
  if not found then
    perform tide._find_run(list_events.run_id);
  end if;
end;
$$;

comment on function tide.list_events is
  'Events of a run with seq greater than after, oldest first; unknown run: TD010.';

-- functions/events/watch_run.sql
create or replace function tide.watch_run(run_id uuid, duration interval default '1 minute')
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_duration constant interval := tide._valid_interval(
    'duration', watch_run.duration, '1 second', '1 hour'
  );
begin
  perform tide._find_run(watch_run.run_id);
  insert into tide.watchers as w (run_id, until)
  values (watch_run.run_id, tide._now() + v_duration)
  on conflict on constraint watchers_pkey do update
  set until = greatest(w.until, excluded.until);
end;
$$;

comment on function tide.watch_run is
  'Have events of a run notified on channel tide_events, with its id as payload, for a while. Listen '
  'first, then watch, then read: nothing is missed.';

-- functions/gates/_decide.sql
create or replace function tide._decide(
  run tide.runs,
  gate tide.gates,
  decision text,
  actor text,
  payload jsonb
)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_gate tide.gates;
begin
  update tide.gates as g
  set
    status = _decide.decision,
    actor = _decide.actor,
    payload = _decide.payload,
    resolved_at = tide._now()
  where g.run_id = gate.run_id
    and g.name = gate.name
    and g.status = 'pending'
  returning g.* into v_gate;
  update tide.runs_active as r
  set open_gates = r.open_gates - 1
  where r.run_id = run.run_id;
  perform tide._log(
    run.run_id,
    'gate.resolved',
    jsonb_build_object(
      'gate_id', v_gate.gate_id,
      'name', v_gate.name,
      'decision', v_gate.status,
      'actor', v_gate.actor
    )
  );
  if run.waiting_on = 'gate' and run.waiting_for = v_gate.gate_id::text then
    perform tide._resume(
      run,
      jsonb_build_object('waited_on', 'gate', 'gate', v_gate.name, 'decision', v_gate.status)
    );
  end if;
  return v_gate;
end;
$$;

comment on function tide._decide is
  'Decide a pending gate of a locked run and wake the run if it is parked on it.';

-- functions/gates/_find_gate.sql
create or replace function tide._find_gate(gate_id uuid)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_gate tide.gates;
begin
  select g.*
  into v_gate
  from tide.gates as g
  where g.gate_id = _find_gate.gate_id;
  if not found then
    raise exception 'gate % does not exist', coalesce(_find_gate.gate_id::text, 'null')
      using errcode = 'TD010',
            hint = 'Check the id; retention may have removed its run.';
  end if;
  return v_gate;
end;
$$;

comment on function tide._find_gate is 'The gate with this id; unknown: TD010.';

-- functions/gates/_resolve.sql
-- The run row is locked before the gate is read again: of any number of simultaneous callers, and of
-- time-out and cancel, one finds it pending.
create or replace function tide._resolve(
  gate tide.gates,
  decision text,
  actor text,
  payload jsonb
)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_decision constant text := tide._valid_decision('decision', _resolve.decision);
  v_actor constant text := tide._valid_note('actor', _resolve.actor);
  v_payload constant jsonb := coalesce(tide._valid_payload('payload', _resolve.payload), '{}');
  v_run tide.runs;
  v_gate tide.gates;
begin
  select r.*
  into v_run
  from tide.runs_active as r
  where r.run_id = gate.run_id
  for no key update;
  v_gate := tide._find_gate(gate.gate_id);
  if v_gate.status = 'pending' then
    v_gate := tide._decide(v_run, v_gate, v_decision, v_actor, v_payload);
  elsif v_actor is null
    or (v_gate.status, v_gate.actor, v_gate.payload)
      is distinct from (v_decision, v_actor, v_payload)
  then
    raise exception 'gate % is already decided: %', v_gate.gate_id, v_gate.status
      using errcode = 'TD022',
            detail = format(
              'By %s at %s.', coalesce(v_gate.actor, 'nobody named'), v_gate.resolved_at
            ),
            hint = 'The first decision stands.';
  end if;
  v_gate.token_hash := null;
  return v_gate;
end;
$$;

comment on function tide._resolve is
  'Decide a gate exactly once; the same actor with the same decision and payload is answered again.';

-- functions/gates/_time_out_gates.sql
create or replace function tide._time_out_gates(max_gates integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
  v_gate tide.gates;
  v_handled integer := 0;
begin
  for v_gate in
    select g.*
    from tide.gates as g
    where g.status = 'pending'
      and g.expires_at is not null
      and g.expires_at <= v_now
    order by g.expires_at
    limit _time_out_gates.max_gates
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = v_gate.run_id
    for no key update skip locked;
    if found then
      v_gate := tide._find_gate(v_gate.gate_id);
      if v_gate.status = 'pending' then
        perform tide._decide(v_run, v_gate, v_gate.on_timeout, 'timeout', '{}');
        v_handled := v_handled + 1;
      end if;
    end if;
  end loop;
  return v_handled;
end;
$$;

comment on function tide._time_out_gates is
  'Decide gates whose time is over as they said; those whose run is locked wait for the next tick.';

-- functions/gates/_valid_decision.sql
create or replace function tide._valid_decision(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value in ('approved', 'rejected', 'canceled') then
    return value;
  end if;
  raise exception '% is not known: %', _valid_decision.argument,
      coalesce(quote_literal(left(_valid_decision.value, 200)), 'null')
    using errcode = '22023',
          hint = 'Give approved, rejected or canceled.';
end;
$$;

comment on function tide._valid_decision is 'A decision about a gate, or 22023.';

-- functions/gates/_valid_prompt.sql
create or replace function tide._valid_prompt(prompt text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if octet_length(prompt) between 1 and 65536 then
    return prompt;
  end if;
  raise exception 'prompt is not valid: %',
      case
        when prompt is null then 'null'
        when prompt = '' then 'it is empty'
        else format('it has %s bytes', octet_length(prompt))
      end
    using errcode = '22023',
          hint = 'Say in 1 to 65536 bytes what is to be decided.';
end;
$$;

comment on function tide._valid_prompt is 'The question a gate asks, or 22023.';

-- functions/gates/_valid_timeout.sql
create or replace function tide._valid_timeout(timeout interval)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if timeout is null then
    return null;
  end if;
  return tide._valid_interval('timeout', timeout, '0', '3650 days');
end;
$$;

comment on function tide._valid_timeout is 'How long to wait, or 22023; null = for ever.';

-- functions/gates/await_gate.sql
create or replace function tide.await_gate(run_id uuid, lease_id uuid, gate_id uuid)
returns table (parked boolean, status text, payload jsonb, actor text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._hold(await_gate.run_id, await_gate.lease_id);
  v_gate tide.gates := tide._find_gate(await_gate.gate_id);
begin
  if v_gate.run_id <> v_run.run_id then
    raise exception 'gate % belongs to another run than %', v_gate.gate_id, v_run.run_id
      using errcode = 'TD010',
            hint = 'Open a gate of this run.';
  end if;
  if v_gate.status = 'pending' and v_gate.expires_at <= tide._now() then
    v_gate := tide._decide(v_run, v_gate, v_gate.on_timeout, 'timeout', '{}');
  end if;
  if v_gate.status <> 'pending' then
    return query select false, v_gate.status, v_gate.payload, v_gate.actor;
    return;
  end if;
  perform tide._refuse_overdue(v_run);
  perform tide._park(
    v_run, 'gate', v_gate.gate_id::text, jsonb_build_object('gate', v_gate.name)
  );
  return query select true, v_gate.status, null::jsonb, null::text;
end;
$$;

comment on function tide.await_gate is
  'The decision of a gate, or park the run until there is one: parked = true, drop the run.';

-- functions/gates/decide_gate.sql
create or replace function tide.decide_gate(
  gate_id uuid,
  decision text,
  actor text,
  payload jsonb default '{}'
)
returns tide.gates
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return tide._resolve(
    tide._find_gate(decide_gate.gate_id),
    decide_gate.decision,
    tide._valid_text('actor', decide_gate.actor, 4096),
    decide_gate.payload
  );
end;
$$;

comment on function tide.decide_gate is
  'Decide a gate as an operator, without its token; already decided: TD022.';

-- functions/gates/get_gate.sql
create or replace function tide.get_gate(gate_id uuid)
returns table (
  run_id uuid,
  name text,
  status text,
  prompt text,
  data jsonb,
  payload jsonb,
  actor text,
  expires_at timestamptz,
  run_status text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_gate constant tide.gates := tide._find_gate(get_gate.gate_id);
begin
  return query
  select
    v_gate.run_id,
    v_gate.name,
    v_gate.status,
    v_gate.prompt,
    v_gate.data,
    v_gate.payload,
    v_gate.actor,
    v_gate.expires_at,
    r.status
  from tide.runs as r
  where r.run_id = v_gate.run_id;
end;
$$;

comment on function tide.get_gate is
  'A gate and the status of its run, without its token; unknown: TD010.';

-- functions/gates/open_gate.sql
create or replace function tide.open_gate(
  run_id uuid,
  lease_id uuid,
  name text,
  prompt text,
  data jsonb default '{}',
  timeout interval default null,
  on_timeout text default 'rejected',
  capability text default null
)
returns table (gate_id uuid, status text, payload jsonb, actor text, token text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', open_gate.name, 256);
  v_prompt constant text := tide._valid_prompt(open_gate.prompt);
  v_data constant jsonb := coalesce(tide._valid_payload('data', open_gate.data), '{}');
  v_on_timeout constant text := tide._valid_decision('on_timeout', open_gate.on_timeout);
  v_run constant tide.runs := tide._hold(open_gate.run_id, open_gate.lease_id);
  v_now constant timestamptz := tide._now();
  -- 244 random bits, shown once; what is stored cannot be turned back.
  v_token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_gate tide.gates;
begin
  select g.*
  into v_gate
  from tide.gates as g
  where g.run_id = v_run.run_id
    and g.name = v_name;
  if found then
    return query select v_gate.gate_id, v_gate.status, v_gate.payload, v_gate.actor, null::text;
    return;
  end if;
  perform tide._refuse_overdue(v_run);
  insert into tide.gates as g (
    run_id, name, gate_id, status, prompt, data, capability, token_hash, expires_at, on_timeout,
    created_at
  )
  values (
    v_run.run_id,
    v_name,
    tide._uuid7(),
    'pending',
    v_prompt,
    v_data,
    case
      when open_gate.capability is not null
        then tide._valid_text('capability', open_gate.capability, 256)
    end,
    sha256(convert_to(v_token, 'UTF8')),
    v_now + tide._valid_timeout(open_gate.timeout),
    v_on_timeout,
    v_now
  )
  returning g.* into v_gate;
  update tide.runs_active as r
  set open_gates = r.open_gates + 1
  where r.run_id = v_run.run_id;
  perform tide._log(
    v_run.run_id,
    'gate.created',
    jsonb_build_object(
      'gate_id', v_gate.gate_id,
      'name', v_gate.name,
      'prompt', v_gate.prompt,
      'capability', v_gate.capability,
      'expires_at', v_gate.expires_at
    )
  );
  return query select v_gate.gate_id, v_gate.status, v_gate.payload, v_gate.actor, v_token;
end;
$$;

comment on function tide.open_gate is
  'Ask people for a decision about a leased run; the same name again gives the same gate. The token '
  'that resolves it is in the first answer only.';

-- functions/gates/resolve_gate.sql
create or replace function tide.resolve_gate(
  gate_id uuid,
  token text,
  decision text,
  actor text default null,
  payload jsonb default '{}'
)
returns tide.gates
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_gate constant tide.gates := tide._find_gate(resolve_gate.gate_id);
begin
  -- Gates that a fork copied have no token at all.
  if sha256(convert_to(coalesce(resolve_gate.token, ''), 'UTF8'))
    is distinct from v_gate.token_hash
  then
    raise exception 'the token does not open gate %', v_gate.gate_id
      using errcode = 'TD024',
            hint = 'Use the token that open_gate returned when it made the gate.';
  end if;
  return tide._resolve(
    v_gate, resolve_gate.decision, resolve_gate.actor, resolve_gate.payload
  );
end;
$$;

comment on function tide.resolve_gate is
  'Decide a gate with its token, exactly once: approved, rejected or canceled. Wrong token: TD024, '
  'already decided: TD022.';

-- functions/queues/_claim.sql
create or replace function tide._claim(
  queues text[],
  max_runs integer,
  lease interval,
  worker text,
  workflows text[]
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_lease constant interval := tide._valid_lease(_claim.lease);
  v_worker constant text := tide._valid_worker(_claim.worker);
  v_queue text;
  v_runs tide.runs[] := array[]::tide.runs[];
begin
  if coalesce(cardinality(queues), 0) not between 1 and 1000
    or array_ndims(queues) > 1
    or array_ndims(workflows) > 1
    or exists (
      select
      from unnest(_claim.queues || _claim.workflows) as n(name)
      where n.name is null
    )
  then
    raise exception 'queues or workflows is not a list of names: % and %',
        coalesce(left(queues::text, 200), 'null'),
        coalesce(left(workflows::text, 200), 'null')
      using errcode = '22023',
            hint = 'Name 1 to 1000 queues; workflows null = any.';
  end if;
  perform tide._require_read_committed('claim');
  perform tide._tick();
  perform tide._promote(greatest(100, 2 * max_runs));
  if v_worker is not null then
    perform tide._register_worker(v_worker, queues, workflows);
  end if;
  foreach v_queue in array queues loop
    v_runs := v_runs || tide._claim_queue(
      v_queue, max_runs - cardinality(v_runs), v_lease, v_worker, workflows
    );
    exit when cardinality(v_runs) >= max_runs;
  end loop;
  return v_runs;
end;
$$;

comment on function tide._claim is
  'The leased runs of several queues, one queue after the other in the order given.';

-- functions/queues/_claim_queue.sql
-- The shared lock keeps set_queue from counting running runs while a claim is between reading the
-- cap and committing; it is only tried, so a claim still never waits.
create or replace function tide._claim_queue(
  queue text,
  max_runs integer,
  lease interval,
  worker text,
  workflows text[]
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_queue tide.queues;
  v_drains boolean;
  v_room integer := _claim_queue.max_runs;
  v_picked uuid[];
  v_slots integer[];
  v_permits integer[];
  v_runs tide.runs[];
  v_run_ids uuid[];
  v_seqs integer[];
  v_payloads jsonb[];
  v_now timestamptz;
begin
  if not pg_try_advisory_xact_lock_shared(1953064038, hashtext(_claim_queue.queue)) then
    return array[]::tide.runs[];
  end if;
  select q.*
  into v_queue
  from tide.queues as q
  where q.queue = _claim_queue.queue;
  if v_queue.paused then
    return array[]::tide.runs[];
  end if;
  v_drains := tide._drains(v_queue);
  -- While a lowered cap drains, one claim at a time counts who runs.
  if v_drains and not pg_try_advisory_xact_lock(1953064040, hashtext(_claim_queue.queue)) then
    return array[]::tide.runs[];
  end if;
  v_room := tide._room(v_queue, v_room, v_drains);
  if v_room = 0 then
    return array[]::tide.runs[];
  end if;
  v_picked := tide._pick(_claim_queue.queue, v_room, _claim_queue.workflows);
  if cardinality(v_picked) = 0 then
    return array[]::tide.runs[];
  end if;
  if v_queue.concurrency is not null then
    v_slots := array(
      select s.slot
      from tide.slots as s
      where s.queue = _claim_queue.queue
        and s.slot <= v_queue.concurrency
        and s.run_id is null
      order by s.slot
      limit cardinality(v_picked)
      for no key update skip locked
    );
    v_picked := v_picked[:cardinality(v_slots)];
  end if;
  if v_queue.rate_limit is not null then
    v_permits := tide._hold_permits(v_queue, cardinality(v_picked));
    v_picked := v_picked[:cardinality(v_permits)];
  end if;
  if cardinality(v_picked) = 0 then
    return array[]::tide.runs[];
  end if;

  v_now := tide._now();
  with leased as (
    update tide.runs_active as r
    set
      status = 'running',
      ready = false,
      attempt = r.attempt + 1,
      started_at = v_now,
      leased_until = v_now + _claim_queue.lease,
      lease = _claim_queue.lease,
      lease_id = gen_random_uuid(),
      worker = _claim_queue.worker,
      slot = p.slot,
      budget = coalesce(r.budget, v_queue.budget),
      ended_by = null,
      last_seq = r.last_seq + 1
    from unnest(v_picked, v_slots) as p(run_id, slot)
    where r.run_id = p.run_id
    returning
      r::tide.runs as run,
      r.run_id,
      r.last_seq,
      jsonb_build_object('attempt', r.attempt, 'worker', r.worker) as payload
  )
  select
    array_agg(l.run),
    array_agg(l.run_id),
    array_agg(l.last_seq),
    array_agg(l.payload)
  into v_runs, v_run_ids, v_seqs, v_payloads
  from leased as l;
  if v_slots is not null then
    update tide.slots as s
    set run_id = p.run_id
    from unnest(v_picked, v_slots) as p(run_id, slot)
    where s.queue = _claim_queue.queue
      and s.slot = p.slot
      and p.run_id is not null;
  end if;
  perform tide._emit(v_run_ids, v_seqs, 'run.claimed', v_payloads);
  if v_permits is not null then
    perform tide._use_permits(v_queue, v_permits);
  end if;
  return v_runs;
end;
$$;

comment on function tide._claim_queue is
  'Lease ready runs of one queue: pick runs, take a slot and a permit for each, write the leases.';

-- functions/queues/_drains.sql
create or replace function tide._drains(queue tide.queues)
returns boolean
language plpgsql
volatile
as $$
begin
  return _drains.queue.concurrency is not null
    and exists (
      select
      from tide.slots as s
      where s.queue = _drains.queue.queue
        and s.slot > _drains.queue.concurrency
        and s.run_id is not null
    );
end;
$$;

comment on function tide._drains is
  'Whether runs from before a cap was lowered still hold slots above it: until they end, free slots '
  'alone do not say how many may start.';

-- functions/queues/_enqueue.sql
-- Reads first: an insert would wait for any open transaction that updated the run with this key.
-- When the insert meets a run that is gone in the next look, another round goes on; each further
-- round takes another run's whole life, so the bound is never met by chance.
create or replace function tide._enqueue(
  run tide.runs,
  on_conflict text,
  given_id boolean
)
returns tide.enqueued
language plpgsql
volatile
as $$
declare
  v_active tide.runs;
  v_answer tide.enqueued;
  v_inserted boolean;
begin
  if run.dedupe_key is not null then
    perform tide._require_read_committed('enqueue with a dedupe key');
    if given_id and tide._made_before(run.run_id, run.workflow, run.input, inserted => false) then
      v_active := tide._find_run(run.run_id);
      return (v_active.run_id, false, v_active.status)::tide.enqueued;
    end if;
  end if;

  for v_round in 1..10 loop
    if run.dedupe_key is not null then
      select r.*
      into v_active
      from tide.runs_active as r
      where r.queue = run.queue
        and r.dedupe_key = run.dedupe_key
        and r.dedupe_key is not null
        and r.status <> 'pending';
      if found then
        v_answer := tide._enqueue_again(run, v_active, on_conflict);
        if v_answer.run_id is not null then
          return v_answer;
        end if;
      end if;
    end if;

    insert into tide.runs_active (
      run_id, workflow, queue, status, dedupe_key, priority, max_attempts, last_seq, ready,
      run_at, created_at, deadline_at, input, metadata, backoff, deadline, budget
    )
    values (
      run.run_id,
      run.workflow,
      run.queue,
      'queued',
      run.dedupe_key,
      run.priority,
      run.max_attempts,
      1,
      run.ready,
      run.run_at,
      run.created_at,
      run.deadline_at,
      run.input,
      run.metadata,
      run.backoff,
      run.deadline,
      run.budget
    )
    on conflict do nothing;
    v_inserted := found;
    if given_id
      and tide._made_before(run.run_id, run.workflow, run.input, v_inserted)
    then
      v_active := tide._find_run(run.run_id);
      return (v_active.run_id, false, v_active.status)::tide.enqueued;
    elsif v_inserted then
      if run.ready and run.run_at < run.created_at then
        perform tide._lower_floor(run.queue, run.priority, run.run_at);
      end if;
      perform tide._emit(
        array[run.run_id],
        array[1],
        'run.enqueued',
        array[tide._enqueued_payload(run)]
      );
      return (run.run_id, false, 'queued')::tide.enqueued;
    end if;
  end loop;
  raise exception 'dedupe key % of queue % is taken and freed faster than a run can be made',
      quote_literal(run.dedupe_key), run.queue
    using errcode = '40001',
          hint = 'Call again.';
end;
$$;

comment on function tide._enqueue is
  'Insert a queued run whose values are checked, or settle the conflict over its dedupe key.';

-- functions/queues/_enqueue_again.sql
create or replace function tide._enqueue_again(
  run tide.runs,
  active tide.runs,
  on_conflict text
)
returns tide.enqueued
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  if on_conflict = 'raise' then
    raise exception 'run % of queue % is active with dedupe key %',
        active.run_id, active.queue, quote_literal(active.dedupe_key)
      using errcode = 'TD023',
            detail = format('It is %s.', active.status),
            hint = 'Wait for it, or use on_conflict return or replace.';
  elsif on_conflict = 'replace' then
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = active.run_id
    for no key update;
    if not found then
      return null;
    elsif v_run.status <> 'queued'
      or v_run.started_at is not null
      or v_run.waiting_on is not null
    then
      return (v_run.run_id, true, v_run.status)::tide.enqueued;
    end if;
    update tide.runs_active as r
    set
      workflow = run.workflow,
      input = run.input,
      metadata = run.metadata,
      priority = run.priority,
      run_at = run.run_at,
      ready = run.ready,
      max_attempts = run.max_attempts,
      deadline = run.deadline,
      deadline_at = run.deadline_at,
      backoff = run.backoff,
      budget = run.budget,
      last_seq = r.last_seq + 1
    where r.run_id = active.run_id
    returning r.* into v_run;
    if v_run.ready then
      perform tide._lower_floor(v_run.queue, v_run.priority, v_run.run_at);
    end if;
    perform tide._emit(
      array[v_run.run_id],
      array[v_run.last_seq],
      'run.enqueued',
      array[tide._enqueued_payload(v_run) || '{"replaced": true}']
    );
  end if;
  return (active.run_id, true, active.status)::tide.enqueued;
end;
$$;

comment on function tide._enqueue_again is
  'Answer an enqueue whose dedupe key is taken by an active run; null when that run has just ended.';

-- functions/queues/_enqueued_payload.sql
create or replace function tide._enqueued_payload(run tide.runs)
returns jsonb
language plpgsql
stable
parallel safe
as $$
begin
  return jsonb_build_object(
    'workflow', run.workflow,
    'queue', run.queue,
    'priority', run.priority,
    'run_at', run.run_at,
    'max_attempts', run.max_attempts
  );
end;
$$;

comment on function tide._enqueued_payload is 'What the event run.enqueued says.';

-- functions/queues/_explain_cap.sql
create or replace function tide._explain_cap(queue tide.queues)
returns jsonb
language plpgsql
stable
as $$
declare
  v_busy uuid[];
begin
  if _explain_cap.queue.concurrency is null then
    return '[]'::jsonb;
  end if;
  v_busy := array(
    select s.run_id
    from tide.slots as s
    where s.queue = _explain_cap.queue.queue
      and s.run_id is not null
    order by s.slot
  );
  if cardinality(v_busy) < _explain_cap.queue.concurrency then
    return '[]'::jsonb;
  end if;
  return tide._reason(
    'cap',
    'the concurrency of the queue is used up',
    jsonb_build_object(
      'concurrency', _explain_cap.queue.concurrency,
      'running', to_jsonb(v_busy[:20])
    )
  );
end;
$$;

comment on function tide._explain_cap is
  'The reason cap, with up to 20 runs that hold the slots, or an empty list.';

-- functions/queues/_explain_rate.sql
create or replace function tide._explain_rate(queue tide.queues, now timestamptz)
returns jsonb
language plpgsql
stable
as $$
declare
  v_at timestamptz;
begin
  if _explain_rate.queue.rate_limit is null then
    return '[]'::jsonb;
  end if;
  select p.available_at
  into v_at
  from tide.permits as p
  where p.queue = _explain_rate.queue.queue
  order by p.available_at
  limit 1;
  if v_at <= _explain_rate.now then
    return '[]'::jsonb;
  end if;
  return tide._reason(
    'rate',
    'the rate of the queue is used up',
    jsonb_build_object(
      'rate_limit', _explain_rate.queue.rate_limit,
      'rate_period', _explain_rate.queue.rate_period,
      'until', v_at
    )
  );
end;
$$;

comment on function tide._explain_rate is
  'The reason rate, with the time of the next permit, or an empty list.';

-- functions/queues/_free_leaked_slots.sql
-- The slot is locked first and the run read in a later statement: a look at both in one statement
-- could judge a slot just taken by an older picture of its run, and free it.
create or replace function tide._free_leaked_slots(max_slots integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_slot tide.slots;
  v_freed integer := 0;
begin
  for v_slot in
    select s.*
    from tide.slots as s
    where s.run_id is not null
      and not exists (
        select
        from tide.runs_active as r
        where r.run_id = s.run_id
          and r.slot = s.slot
      )
    limit _free_leaked_slots.max_slots
  loop
    perform
    from tide.slots as s
    where s.queue = v_slot.queue
      and s.slot = v_slot.slot
      and s.run_id = v_slot.run_id
    for no key update skip locked;
    if found and not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_slot.run_id
        and r.queue = v_slot.queue
        and r.slot = v_slot.slot
    ) then
      update tide.slots as s
      set run_id = null
      where s.queue = v_slot.queue
        and s.slot = v_slot.slot;
      v_freed := v_freed + 1;
    end if;
  end loop;
  delete from tide.slots as s
  using (
    select
      q.queue,
      coalesce(q.concurrency, 0) as concurrency
    from tide.queues as q
  ) as q
  where s.queue = q.queue
    and s.slot > q.concurrency
    and s.run_id is null;
  return v_freed;
end;
$$;

comment on function tide._free_leaked_slots is
  'Free slots whose run does not hold them, and remove drained slots above the cap.';

-- functions/queues/_hold_permits.sql
create or replace function tide._hold_permits(queue tide.queues, wanted integer)
returns integer[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  return array(
    select p.permit
    from tide.permits as p
    where p.queue = _hold_permits.queue.queue
      and p.available_at <= v_now
    order by p.available_at, p.permit
    limit _hold_permits.wanted
    for no key update skip locked
  );
end;
$$;

comment on function tide._hold_permits is
  'Lock up to wanted permits of a rated queue; rolled back, they are free again.';

-- functions/queues/_judge.sql
create or replace function tide._judge(report tide.outcome)
returns tide.verdict
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  if report.problem is not null then
    return (report.run_id, false, report.problem)::tide.verdict;
  end if;
  select r.*
  into v_run
  from tide.runs as r
  where r.run_id = report.run_id;
  if found and v_run.lease_id = report.lease_id and v_run.ended_by = report.verb then
    return (report.run_id, true, 'repeated')::tide.verdict;
  end if;
  return (
    report.run_id,
    false,
    case
      when v_run.run_id is null then 'missing'
      when v_run.status = 'cancelled' then 'cancelled'
      when v_run.status in ('completed', 'failed') then 'finished'
      else 'lost'
    end
  )::tide.verdict;
end;
$$;

comment on function tide._judge is
  'Why an outcome was not applied, in the words of settle: the same report again is accepted.';

-- functions/queues/_lower_floor.sql
create or replace function tide._lower_floor(
  queue text,
  priority integer,
  run_at timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  perform
  from tide.claim_floors as f
  where f.queue = _lower_floor.queue
    and f.priority = _lower_floor.priority
    and f.run_at > _lower_floor.run_at
  for no key update skip locked;
  if found then
    update tide.claim_floors as f
    set run_at = _lower_floor.run_at
    where f.queue = _lower_floor.queue
      and f.priority = _lower_floor.priority;
  end if;
end;
$$;

comment on function tide._lower_floor is
  'Let claims see a run that became ready with a time in the past; if somebody else writes the '
  'floor just now, the next tick does it.';

-- functions/queues/_merge_settings.sql
create or replace function tide._merge_settings(queue tide.queues, settings jsonb)
returns tide.queues
language plpgsql
stable
as $$
declare
  v_queue tide.queues := _merge_settings.queue;
  v_key text;
  v_value jsonb;
  v_interval interval;
  v_number numeric;
begin
  for v_key, v_value in
    select
      o.key,
      o.value
    from jsonb_each(_merge_settings.settings) as o(key, value)
  loop
    case v_key
      when 'paused' then
        v_queue.paused := coalesce(tide._option_boolean(v_key, v_value), false);
      when 'budget' then
        v_queue.budget := tide._valid_budget(nullif(v_value, 'null'));
      when 'concurrency' then
        v_queue.concurrency := tide._option_integer(v_key, v_value, 1, 2000);
      when 'rate_limit' then
        v_queue.rate_limit := tide._option_integer(v_key, v_value, 1, 10000);
      when 'max_attempts' then
        v_queue.max_attempts := tide._option_integer(v_key, v_value, 1, 100);
      when 'backoff_jitter' then
        v_number := tide._option_number(v_key, v_value);
        if v_number not between 0 and 1 then
          raise exception 'backoff_jitter is out of range: %', left(v_number::text, 200)
            using errcode = '22023',
                  hint = 'Give a number from 0 to 1.';
        end if;
        v_queue.backoff_jitter := v_number;
      else
        v_interval := tide._option_interval(v_key, v_value);
        if v_interval is not null then
          v_interval := tide._valid_interval(
            v_key,
            v_interval,
            case v_key when 'rate_period' then interval '100 milliseconds' else '0' end,
            case v_key when 'retention' then interval '36500 days' else '365 days' end
          );
        end if;
        case v_key
          when 'rate_period' then
            v_queue.rate_period := coalesce(v_interval, '1 minute');
          when 'backoff_base' then
            v_queue.backoff_base := v_interval;
          when 'backoff_max' then
            v_queue.backoff_max := v_interval;
          when 'retention' then
            v_queue.retention := v_interval;
        end case;
    end case;
  end loop;
  return v_queue;
end;
$$;

comment on function tide._merge_settings is
  'The queue with the settings of an object laid over it, or 22023 naming the key.';

-- functions/queues/_parse_outcome.sql
create or replace function tide._parse_outcome(value jsonb)
returns tide.outcome
language plpgsql
volatile
as $$
declare
  v_outcome tide.outcome;
begin
  v_outcome.run_id := tide._option_uuid('outcomes.run_id', value -> 'run_id');
  v_outcome.lease_id := tide._option_uuid('outcomes.lease_id', value -> 'lease_id');
  if v_outcome.run_id is null or v_outcome.lease_id is null then
    raise exception 'outcomes has an element without run_id or lease_id'
      using errcode = '22023',
            hint = 'Give the run_id and lease_id that claim returned.';
  end if;
  if value ? 'result' and value ?| '{error,release}'
    or value ? 'error' and value ?| '{release,delay}'
    or value ?| '{retryable,failure_class,retry_after}' and not value ? 'error'
    or value ? 'delay' and not value ? 'release'
  then
    raise exception 'outcomes has an element that says two things: %',
        (
          select string_agg(o.key, ', ' order by o.key)
          from jsonb_object_keys(_parse_outcome.value - '{run_id,lease_id}'::text[]) as o(key)
        )
      using errcode = '22023',
            hint = 'Give result; or error with retryable, failure_class, retry_after; '
                   'or release with delay.';
  end if;
  if value ? 'error' then
    v_outcome.verb := 'failed';
    v_outcome.error := coalesce(nullif(value -> 'error', 'null'), '{}');
    v_outcome.problem := tide._payload_problem(v_outcome.error);
    v_outcome.retryable := coalesce(
      tide._option_boolean('outcomes.retryable', value -> 'retryable'), true
    );
    if jsonb_typeof(value -> 'failure_class') not in ('string', 'null') then
      raise exception 'outcomes.failure_class is not text: %',
          left((value -> 'failure_class')::text, 200)
        using errcode = '22023';
    end if;
    v_outcome.failure_class := value ->> 'failure_class';
    v_outcome.delay := tide._option_interval('outcomes.retry_after', value -> 'retry_after');
    -- One outcome that cannot be applied must not keep the others from being settled.
    if v_outcome.failure_class !~ '^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$'
      or v_outcome.delay not between interval '0' and interval '365 days'
    then
      v_outcome.problem := 'bad_outcome';
    end if;
  elsif tide._option_boolean('outcomes.release', value -> 'release') then
    v_outcome.verb := 'released';
    v_outcome.delay := coalesce(tide._option_interval('outcomes.delay', value -> 'delay'), '0');
    if v_outcome.delay not between interval '0' and interval '365 days' then
      v_outcome.problem := 'bad_outcome';
    end if;
  else
    v_outcome.verb := 'completed';
    v_outcome.result := nullif(value -> 'result', 'null');
    v_outcome.problem := tide._payload_problem(v_outcome.result);
  end if;
  return v_outcome;
end;
$$;

comment on function tide._parse_outcome is
  'One outcome: error means failed, release true means released, else completed.';

-- functions/queues/_parse_outcomes.sql
create or replace function tide._parse_outcomes(outcomes jsonb)
returns tide.outcome[]
language plpgsql
volatile
as $$
declare
  v_reports tide.outcome[];
  v_twice uuid;
begin
  perform tide._valid_elements(
    'outcomes',
    _parse_outcomes.outcomes,
    array[
      'run_id', 'lease_id', 'result', 'error', 'retryable', 'failure_class', 'retry_after',
      'release', 'delay'
    ],
    10000
  );
  v_reports := array(
    select o.report
    from (
      select tide._parse_outcome(e.outcome) as report
      from jsonb_array_elements(_parse_outcomes.outcomes) as e(outcome)
    ) as o
    order by (o.report).run_id
  );
  select o.run_id
  into v_twice
  from unnest(v_reports) as o
  group by o.run_id
  having count(*) > 1
  order by o.run_id
  limit 1;
  if found then
    raise exception 'outcomes name run % twice', v_twice
      using errcode = '22023',
            hint = 'Report one outcome for each run.';
  end if;
  return v_reports;
end;
$$;

comment on function tide._parse_outcomes is
  'Outcomes of runs by run_id, out of an array of objects, or 22023 naming what is wrong.';

-- functions/queues/_parse_run.sql
create or replace function tide._parse_run(
  argument text,
  queue text,
  max_attempts integer,
  now timestamptz,
  value jsonb
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  v_run.run_id := coalesce(
    tide._option_uuid(argument || '.run_id', value -> 'run_id'), tide._uuid7()
  );
  v_run.queue := _parse_run.queue;
  v_run.created_at := _parse_run.now;
  v_run.workflow := tide._valid_name(
    argument || '.workflow',
    tide._option_text(argument || '.workflow', value -> 'workflow', 128)
  );
  v_run.input := coalesce(
    tide._valid_payload(argument || '.input', nullif(value -> 'input', 'null')), '{}'
  );
  v_run.metadata := '{}';
  v_run.priority := 0;
  v_run.max_attempts := _parse_run.max_attempts;
  v_run.run_at := _parse_run.now;
  v_run.ready := true;
  -- Most runs of a batch name no more than this.
  if (value - '{workflow,input,run_id}'::text[]) <> '{}' then
    v_run.metadata := tide._valid_metadata(
      argument || '.metadata', nullif(value -> 'metadata', 'null')
    );
    v_run.dedupe_key := tide._option_text(
      argument || '.dedupe_key', value -> 'dedupe_key', 512
    );
    v_run.priority := coalesce(
      tide._option_integer(argument || '.priority', value -> 'priority', -32768, 32767), 0
    );
    v_run.max_attempts := coalesce(
      tide._option_integer(argument || '.max_attempts', value -> 'max_attempts', 1, 100),
      v_run.max_attempts
    );
    v_run.run_at := tide._valid_start(
      _parse_run.now,
      tide._option_interval(argument || '.delay', value -> 'delay'),
      tide._option_time(argument || '.run_at', value -> 'run_at'),
      argument || '.'
    );
    v_run.ready := v_run.run_at <= _parse_run.now;
    v_run.deadline := tide._valid_deadline(
      tide._option_interval(argument || '.deadline', value -> 'deadline'), argument || '.'
    );
    v_run.deadline_at := _parse_run.now + v_run.deadline;
    v_run.backoff := tide._valid_backoff(nullif(value -> 'backoff', 'null'), argument || '.');
    v_run.budget := tide._valid_budget(nullif(value -> 'budget', 'null'), argument || '.');
    if coalesce(value ->> 'on_conflict', 'return') not in ('return', 'replace', 'raise') then
      raise exception '%.on_conflict is not known: %', argument,
          left((value -> 'on_conflict')::text, 200)
        using errcode = '22023',
              hint = 'Give return, replace or raise.';
    end if;
  end if;
  return v_run;
end;
$$;

comment on function tide._parse_run is
  'A queued run out of an object with the argument names of enqueue, or 22023 naming the argument.';

-- functions/queues/_parse_runs.sql
create or replace function tide._parse_runs(queue text, runs jsonb)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_max_attempts integer;
begin
  perform tide._valid_elements(
    'runs',
    _parse_runs.runs,
    array[
      'workflow', 'input', 'dedupe_key', 'priority', 'delay', 'run_at', 'max_attempts',
      'deadline', 'metadata', 'on_conflict', 'run_id', 'backoff', 'budget'
    ],
    100000
  );
  select q.max_attempts
  into v_max_attempts
  from tide.queues as q
  where q.queue = _parse_runs.queue;
  return array(
    select tide._parse_run(
      format('runs[%s]', e.ordinality - 1),
      _parse_runs.queue,
      coalesce(v_max_attempts, 1),
      v_now,
      e.element
    )
    from jsonb_array_elements(_parse_runs.runs) with ordinality as e(element, ordinality)
    order by e.ordinality
  );
end;
$$;

comment on function tide._parse_runs is
  'Queued runs out of an array of objects, or 22023 naming the element and the argument.';

-- functions/queues/_pick.sql
-- Below a floor lie only index entries of runs that are gone; while an old snapshot keeps vacuum
-- from removing them, each claim would walk them all. The ranges between floors are read in full,
-- so a priority nobody used before is never missed.
create or replace function tide._pick(queue text, max_runs integer, workflows text[])
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_picked uuid[] := array[]::uuid[];
  v_highest integer := 32767;
  v_floor record;
begin
  for v_floor in
    select
      f.priority,
      f.run_at
    from tide.claim_floors as f
    where f.queue = _pick.queue
    order by f.priority desc
  loop
    if v_floor.priority < v_highest then
      v_picked := v_picked || tide._pick_range(
        _pick.queue,
        v_floor.priority + 1,
        v_highest,
        _pick.max_runs - cardinality(v_picked),
        _pick.workflows
      );
      if cardinality(v_picked) >= _pick.max_runs then
        return v_picked;
      end if;
    end if;
    v_picked := v_picked || tide._pick_above_floor(
      _pick.queue,
      v_floor.priority,
      v_floor.run_at,
      _pick.max_runs - cardinality(v_picked),
      _pick.workflows
    );
    if cardinality(v_picked) >= _pick.max_runs then
      return v_picked;
    end if;
    v_highest := v_floor.priority - 1;
  end loop;
  return v_picked || tide._pick_range(
    _pick.queue, -32768, v_highest, _pick.max_runs - cardinality(v_picked), _pick.workflows
  );
end;
$$;

comment on function tide._pick is
  'Lock ready runs of a queue in claim order: higher priority, then earlier run_at, then run_id.';

-- functions/queues/_pick_above_floor.sql
create or replace function tide._pick_above_floor(
  queue text,
  priority integer,
  floor timestamptz,
  max_runs integer,
  workflows text[]
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_picked uuid[] := array[]::uuid[];
  v_live uuid[];
  v_overdue uuid[];
begin
  loop
    select
      array_agg(l.run_id) filter (where l.deadline_at is null or l.deadline_at > v_now),
      array_agg(l.run_id) filter (where l.deadline_at <= v_now)
    into v_live, v_overdue
    from (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.queue = _pick_above_floor.queue
        and r.ready
        and r.priority = _pick_above_floor.priority
        and r.run_at >= _pick_above_floor.floor
        and (_pick_above_floor.workflows is null or r.workflow = any (_pick_above_floor.workflows))
      order by r.priority desc, r.run_at, r.run_id
      limit _pick_above_floor.max_runs - cardinality(v_picked)
      for no key update skip locked
    ) as l;
    v_picked := v_picked || v_live;
    exit when v_overdue is null;
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
    exit when cardinality(v_picked) >= _pick_above_floor.max_runs;
  end loop;
  return v_picked;
end;
$$;

comment on function tide._pick_above_floor is
  'Lock ready runs of one priority from its floor on; overdue ones are cancelled on the way.';

-- functions/queues/_pick_range.sql
create or replace function tide._pick_range(
  queue text,
  lowest integer,
  highest integer,
  max_runs integer,
  workflows text[]
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_picked uuid[] := array[]::uuid[];
  v_live uuid[];
  v_overdue uuid[];
begin
  loop
    select
      array_agg(l.run_id) filter (where l.deadline_at is null or l.deadline_at > v_now),
      array_agg(l.run_id) filter (where l.deadline_at <= v_now)
    into v_live, v_overdue
    from (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.queue = _pick_range.queue
        and r.ready
        and r.priority between _pick_range.lowest and _pick_range.highest
        and (_pick_range.workflows is null or r.workflow = any (_pick_range.workflows))
      order by r.priority desc, r.run_at, r.run_id
      limit _pick_range.max_runs - cardinality(v_picked)
      for no key update skip locked
    ) as l;
    v_picked := v_picked || v_live;
    exit when v_overdue is null;
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
    exit when cardinality(v_picked) >= _pick_range.max_runs;
  end loop;
  return v_picked;
end;
$$;

comment on function tide._pick_range is
  'Lock ready runs of a range of priorities; overdue ones are cancelled on the way.';

-- functions/queues/_promote.sql
create or replace function tide._promote(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_group record;
  v_promoted integer := 0;
begin
  for v_group in
    with promoted as (
      update tide.runs_active as r
      set ready = true
      where r.run_id = any (
        array(
          select d.run_id
          from tide.runs_active as d
          where d.status = 'queued'
            and not d.ready
            and d.run_at <= v_now
          order by d.run_at
          limit _promote.max_runs
          for no key update skip locked
        )
      )
      returning
        r.queue,
        r.priority,
        r.run_at
    )
    select
      p.queue,
      p.priority,
      min(p.run_at) as run_at,
      count(*) as runs
    from promoted as p
    group by
      p.queue,
      p.priority
  loop
    perform tide._lower_floor(v_group.queue, v_group.priority, v_group.run_at);
    v_promoted := v_promoted + v_group.runs;
  end loop;
  return v_promoted;
end;
$$;

comment on function tide._promote is
  'Make queued runs ready whose time has come, earliest first, and return how many.';

-- functions/queues/_raise_floors.sql
-- One probe for each queue and priority in use finds its first ready run. A floor that is not
-- computed again goes, so that no run can hide below it for longer than a tick.
create or replace function tide._raise_floors(max_floors integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_settled timestamptz;
  v_queue text := '';
  v_priority integer;
  v_run record;
  v_queues text[] := array[]::text[];
  v_priorities integer[] := array[]::integer[];
  v_floors timestamptz[] := array[]::timestamptz[];
begin
  select t.settled_at
  into v_settled
  from tide.ticks as t;
  if not pg_try_advisory_xact_lock(1953064037, 2) then
    return 0;
  end if;
  while cardinality(v_queues) < max_floors loop
    select
      r.queue,
      r.priority,
      r.run_at
    into v_run
    from tide.runs_active as r
    where r.ready
      and r.queue = v_queue
      and r.priority < v_priority
    order by r.priority desc, r.run_at
    limit 1;
    if not found then
      select
        r.queue,
        r.priority,
        r.run_at
      into v_run
      from tide.runs_active as r
      where r.ready
        and r.queue > v_queue
      order by r.queue, r.priority desc, r.run_at
      limit 1;
      exit when not found;
    end if;
    v_queue := v_run.queue;
    v_priority := v_run.priority;
    v_queues := v_queues || v_queue;
    v_priorities := v_priorities || v_priority;
    v_floors := v_floors || least(v_run.run_at, v_settled);
  end loop;
  perform tide._write_floors(
    v_queues,
    v_priorities,
    v_floors,
    -- Where nothing is ready a floor helps only while vacuum is held back.
    idle_floor => case
      when cardinality(v_queues) < max_floors
        and pg_stat_get_dead_tuples('tide.runs_active'::regclass) > 1000
        then v_settled
    end
  );
  return 0;
end;
$$;

comment on function tide._raise_floors is
  'Compute claim floors anew: no higher than the first ready run, nor than the time from which on '
  'a transaction may still be open.';

-- functions/queues/_register_worker.sql
-- The try-lock keeps two first claims under one name from waiting for each other's insert.
create or replace function tide._register_worker(
  worker text,
  queues text[],
  workflows text[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_known tide.workers;
begin
  select w.*
  into v_known
  from tide.workers as w
  where w.worker = _register_worker.worker;
  if v_known.seen_at > v_now - interval '10 seconds'
    and v_known.queues = _register_worker.queues
    and v_known.workflows is not distinct from _register_worker.workflows
  then
    return;
  end if;
  if not pg_try_advisory_xact_lock(1953064039, hashtext(_register_worker.worker)) then
    return;
  end if;
  insert into tide.workers as w (worker, queues, workflows, seen_at)
  values (_register_worker.worker, _register_worker.queues, _register_worker.workflows, v_now)
  on conflict on constraint workers_pkey do update
  set
    queues = excluded.queues,
    workflows = excluded.workflows,
    seen_at = excluded.seen_at;
end;
$$;

comment on function tide._register_worker is
  'Remember which queues and workflows a worker claims; written at most every ten seconds.';

-- functions/queues/_room.sql
create or replace function tide._room(queue tide.queues, wanted integer, drains boolean)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_room integer := _room.wanted;
begin
  if drains then
    select least(_room.wanted, _room.queue.concurrency - count(s.run_id))
    into v_room
    from tide.slots as s
    where s.queue = _room.queue.queue;
  elsif _room.queue.concurrency is not null then
    select count(*)
    into v_room
    from (
      select
      from tide.slots as s
      where s.queue = _room.queue.queue
        and s.slot <= _room.queue.concurrency
        and s.run_id is null
      limit _room.wanted
    ) as free;
  end if;
  if v_room > 0 and _room.queue.rate_limit is not null then
    select count(*)
    into v_room
    from (
      select
      from tide.permits as p
      where p.queue = _room.queue.queue
        and p.available_at <= v_now
      limit v_room
    ) as available;
  end if;
  return greatest(v_room, 0);
end;
$$;

comment on function tide._room is
  'How many runs the cap and rate of a queue seem to allow: a look without locks, so that a full '
  'queue costs its claimers next to nothing.';

-- functions/queues/_set_permits.sql
create or replace function tide._set_permits(old tide.queues, new tide.queues)
returns void
language plpgsql
volatile
as $$
begin
  if old.rate_period <> new.rate_period then
    update tide.permits as p
    set available_at = p.available_at - old.rate_period + new.rate_period
    where p.queue = new.queue;
  end if;
  insert into tide.permits (queue, permit, available_at)
  select
    new.queue,
    n.permit,
    '-infinity'
  from generate_series(1, new.rate_limit) as n(permit)
  on conflict on constraint permits_pkey do nothing;
  -- The permits used last go last: what was started within the period still counts.
  delete from tide.permits as p
  where p.queue = new.queue
    and p.permit not in (
      select k.permit
      from tide.permits as k
      where k.queue = new.queue
      order by k.available_at desc, k.permit
      limit coalesce(new.rate_limit, 0)
    );
end;
$$;

comment on function tide._set_permits is
  'Make as many permits as the limit says; starts within the period go on counting.';

-- functions/queues/_set_slots.sql
create or replace function tide._set_slots(queue text, concurrency integer)
returns void
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
  v_slot integer;
begin
  if _set_slots.concurrency is not null then
    insert into tide.slots (queue, slot)
    select
      _set_slots.queue,
      n.slot
    from generate_series(1, _set_slots.concurrency) as n(slot)
    on conflict on constraint slots_pkey do nothing;
    for v_run_id in
      select r.run_id
      from tide.runs_active as r
      where r.queue = _set_slots.queue
        and r.status = 'running'
        and r.slot is null
      order by r.run_id
      for no key update
    loop
      select s.slot
      into v_slot
      from tide.slots as s
      where s.queue = _set_slots.queue
        and s.run_id is null
      order by s.slot
      limit 1
      for no key update;
      if not found then
        insert into tide.slots as s (queue, slot)
        select
          _set_slots.queue,
          max(o.slot) + 1
        from tide.slots as o
        where o.queue = _set_slots.queue
        returning s.slot into v_slot;
      end if;
      update tide.slots as s
      set run_id = v_run_id
      where s.queue = _set_slots.queue
        and s.slot = v_slot;
      update tide.runs_active as r
      set slot = v_slot
      where r.run_id = v_run_id;
    end loop;
  end if;
  -- Busy slots above the cap drain: nobody takes them again, and they go once they are free.
  delete from tide.slots as s
  where s.queue = _set_slots.queue
    and s.run_id is null
    and s.slot > coalesce(_set_slots.concurrency, 0);
end;
$$;

comment on function tide._set_slots is
  'Make as many slots as the cap says and give one to each running run that has none.';

-- functions/queues/_settle.sql
-- The reports come by run_id and the join keeps their order, so two calls that share runs lock them
-- in one order. An order by of its own would let the planner walk all runs by their key instead.
create or replace function tide._settle(outcomes jsonb)
returns tide.verdict[]
language plpgsql
volatile
as $$
declare
  v_reports tide.outcome[];
  v_completed tide.outcome[];
  v_ended tide.outcome[];
  v_overdue uuid[];
  v_locked uuid[];
  v_report tide.outcome;
  v_run tide.runs;
  v_verdicts tide.verdict[] := array[]::tide.verdict[];
begin
  v_reports := tide._parse_outcomes(_settle.outcomes);
  select
    array_agg(l.report) filter (where (l.report).verb = 'completed' and not l.overdue),
    array_agg(l.report) filter (where (l.report).verb <> 'completed'),
    array_agg(l.run_id) filter (where (l.report).verb = 'completed' and l.overdue),
    array_agg(l.run_id)
  into v_completed, v_ended, v_overdue, v_locked
  from (
    select
      o as report,
      r.run_id,
      coalesce(r.deadline_at <= tide._now(), false) as overdue
    from unnest(v_reports) as o
    join tide.runs_active as r on r.run_id = o.run_id
    where r.status = 'running'
      and r.lease_id = o.lease_id
      and o.problem is null
    for no key update of r
  ) as l;

  if v_completed is not null then
    perform tide._finish(
      array(select o.run_id from unnest(v_completed) as o),
      'completed',
      results => array(select o.result from unnest(v_completed) as o)
    );
  end if;
  if v_overdue is not null then
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
  end if;
  foreach v_report in array coalesce(v_ended, '{}') loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = v_report.run_id;
    if v_report.verb = 'released' then
      perform tide._release(v_run, v_report.delay);
    else
      perform tide._fail(
        v_run, v_report.error, v_report.retryable, v_report.failure_class, v_report.delay
      );
    end if;
  end loop;

  if cardinality(v_reports) > coalesce(cardinality(v_locked), 0) or v_overdue is not null then
    foreach v_report in array v_reports loop
      if v_report.run_id <> all (coalesce(v_locked, '{}')) or v_report.run_id = any (v_overdue) then
        v_verdicts := v_verdicts || tide._judge(v_report);
      end if;
    end loop;
  end if;
  return v_verdicts;
end;
$$;

comment on function tide._settle is
  'Apply outcomes and return a verdict for each that was not plainly accepted.';

-- functions/queues/_use_permits.sql
create or replace function tide._use_permits(queue tide.queues, permits integer[])
returns void
language plpgsql
volatile
as $$
begin
  update tide.permits as p
  set available_at = tide._now() + _use_permits.queue.rate_period
  where p.queue = _use_permits.queue.queue
    and p.permit = any (_use_permits.permits);
end;
$$;

comment on function tide._use_permits is
  'Make permits available again one period from now; called after the starts they allowed are '
  'written, so that no window measured by those starts holds too many.';

-- functions/queues/_valid_start.sql
create or replace function tide._valid_start(
  now timestamptz,
  delay interval,
  run_at timestamptz,
  prefix text default ''
)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if run_at is not null then
    return tide._valid_time(prefix || 'run_at', run_at);
  elsif delay is not null then
    return _valid_start.now + tide._valid_interval(
      prefix || 'delay', delay, '0', '3650 days'
    );
  end if;
  return _valid_start.now;
end;
$$;

comment on function tide._valid_start is
  'When a run may start: run_at, else now and delay, else now; out of range: 22023.';

-- functions/queues/_write_floors.sql
create or replace function tide._write_floors(
  queues text[],
  priorities integer[],
  floors timestamptz[],
  idle_floor timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  v_floor record;
begin
  for v_floor in
    select
      f.queue,
      f.priority,
      coalesce(n.floor, _write_floors.idle_floor) as floor
    from tide.claim_floors as f
    left join unnest(_write_floors.queues, _write_floors.priorities, _write_floors.floors)
      as n(queue, priority, floor)
      on n.queue = f.queue
      and n.priority = f.priority
    where f.run_at is distinct from coalesce(n.floor, _write_floors.idle_floor)
    for no key update of f skip locked
  loop
    if v_floor.floor is null then
      delete from tide.claim_floors as f
      where f.queue = v_floor.queue
        and f.priority = v_floor.priority;
    else
      update tide.claim_floors as f
      set run_at = v_floor.floor
      where f.queue = v_floor.queue
        and f.priority = v_floor.priority;
    end if;
  end loop;
  insert into tide.claim_floors (queue, priority, run_at)
  select
    n.queue,
    n.priority,
    n.floor
  from unnest(_write_floors.queues, _write_floors.priorities, _write_floors.floors)
    as n(queue, priority, floor)
  where n.floor > '-infinity'
    -- An insert would wait for whoever updates the row it conflicts with.
    and not exists (
      select
      from tide.claim_floors as f
      where f.queue = n.queue
        and f.priority = n.priority
    )
  order by
    n.queue,
    n.priority
  on conflict on constraint claim_floors_pkey do nothing;
end;
$$;

comment on function tide._write_floors is
  'Store computed floors without waiting for anybody; floors not computed go, unless idle_floor is set.';

-- functions/queues/claim.sql
-- Takes everything with skip locked, so it never waits and can be in no deadlock. One queue after
-- the other and rows by key: `queue = any (…)` would sort the backlog, a join with a limited query
-- may be planned as a hash join over all runs. The settings below keep plans from flipping.
create or replace function tide.claim(
  queues text[] default '{default}',
  max_runs integer default 1,
  lease interval default '60 seconds',
  worker text default null,
  workflows text[] default null
)
returns setof tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  select c.*
  from unnest(
    tide._claim(
      claim.queues,
      tide._valid_integer('max_runs', claim.max_runs, 1, 1000),
      claim.lease,
      claim.worker,
      claim.workflows
    )
  ) as c;
end;
$$;

comment on function tide.claim is
  'Lease up to max_runs ready runs of the queues, in their order; never waits for another worker. '
  'Caps and rates are exact; paused queues are passed over, overdue runs cancelled.';

-- functions/queues/enqueue.sql
create or replace function tide.enqueue(
  workflow text,
  input jsonb default '{}',
  queue text default 'default',
  dedupe_key text default null,
  priority integer default 0,
  delay interval default null,
  run_at timestamptz default null,
  max_attempts integer default null,
  deadline interval default null,
  metadata jsonb default '{}',
  on_conflict text default 'return',
  budget jsonb default null,
  run_id uuid default null,
  backoff jsonb default null
)
returns tide.enqueued
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
begin
  v_run.run_id := coalesce(enqueue.run_id, tide._uuid7());
  v_run.workflow := tide._valid_name('workflow', enqueue.workflow);
  v_run.queue := tide._valid_name('queue', enqueue.queue);
  v_run.priority := coalesce(tide._valid_priority(enqueue.priority), 0);
  v_run.created_at := v_now;
  v_run.run_at := tide._valid_start(v_now, enqueue.delay, enqueue.run_at);
  v_run.ready := v_run.run_at <= v_now;
  v_run.deadline := tide._valid_deadline(enqueue.deadline);
  v_run.deadline_at := v_now + v_run.deadline;
  v_run.input := coalesce(tide._valid_payload('input', enqueue.input), '{}');
  v_run.metadata := tide._valid_metadata('metadata', enqueue.metadata);
  if enqueue.budget is not null then
    v_run.budget := tide._valid_budget(enqueue.budget);
  end if;
  if enqueue.backoff is not null then
    v_run.backoff := tide._valid_backoff(enqueue.backoff);
  end if;
  if enqueue.max_attempts is not null then
    v_run.max_attempts := tide._valid_integer('max_attempts', enqueue.max_attempts, 1, 100);
  else
    select q.max_attempts
    into v_run.max_attempts
    from tide.queues as q
    where q.queue = enqueue.queue;
    v_run.max_attempts := coalesce(v_run.max_attempts, 1);
  end if;
  if enqueue.dedupe_key is not null then
    v_run.dedupe_key := tide._valid_text('dedupe_key', enqueue.dedupe_key, 512);
  end if;
  if enqueue.on_conflict is null or enqueue.on_conflict not in ('return', 'replace', 'raise') then
    raise exception 'on_conflict is not known: %',
        coalesce(quote_literal(left(enqueue.on_conflict, 200)), 'null')
      using errcode = '22023',
            hint = 'Give return, replace or raise.';
  end if;
  return tide._enqueue(v_run, enqueue.on_conflict, given_id => enqueue.run_id is not null);
end;
$$;

comment on function tide.enqueue is
  'Queue a run. With a dedupe key, at most one run of the queue with that key is active: on_conflict '
  'return gives that run, replace gives it the new input, time and priority unless it has begun, '
  'raise is TD023. run_id makes the call repeatable.';

-- functions/queues/enqueue_many.sql
-- What the insert passes over, because its key or id is taken, is settled one by one, which goes back
-- to keys already passed: so calls that share keys take turns, by locks on 1024 buckets of keys. Ids
-- are inserted in their order, and runs to be replaced locked in the order of settle.
create or replace function tide.enqueue_many(queue text, runs jsonb)
returns table (ordinal integer, run_id uuid, deduplicated boolean)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_runs constant tide.runs[] := tide._parse_runs(
    tide._valid_name('queue', enqueue_many.queue), enqueue_many.runs
  );
  v_inserted uuid[];
  v_payloads jsonb[];
  v_ended uuid[];
  v_rest record;
  v_run tide.runs;
  v_answer tide.enqueued;
  v_answers tide.enqueued[];
begin
  perform tide._require_read_committed('enqueue_many');
  perform pg_advisory_xact_lock(1953064041, b.bucket)
  from (
    select distinct hashtext(g.dedupe_key) & 1023 as bucket
    from unnest(v_runs) as g
    where g.dedupe_key is not null
    order by hashtext(g.dedupe_key) & 1023
  ) as b;
  with inserted as (
    insert into tide.runs_active as r (
      run_id, workflow, queue, status, dedupe_key, priority, max_attempts, last_seq, ready,
      run_at, created_at, deadline_at, input, metadata, backoff, deadline, budget
    )
    select
      g.run_id,
      g.workflow,
      g.queue,
      'queued',
      g.dedupe_key,
      g.priority,
      g.max_attempts,
      1,
      g.ready,
      g.run_at,
      g.created_at,
      g.deadline_at,
      g.input,
      g.metadata,
      g.backoff,
      g.deadline,
      g.budget
    from unnest(v_runs) with ordinality as g
    order by g.dedupe_key nulls first, g.run_id, g.ordinality
    on conflict do nothing
    returning
      r.run_id,
      tide._enqueued_payload(r) as payload
  )
  select
    array_agg(i.run_id),
    array_agg(i.payload)
  into v_inserted, v_payloads
  from inserted as i;
  -- A run with a given id may have ended while the insert waited for its active row: a statement
  -- with a newer snapshot sees it.
  v_ended := array(
    select f.run_id
    from jsonb_array_elements(enqueue_many.runs) as e(element)
    join tide.runs_finished as f on f.run_id = (e.element ->> 'run_id')::uuid
    where e.element ? 'run_id'
  );
  if cardinality(v_ended) > 0 then
    perform tide._made_before(g.run_id, g.workflow, g.input, inserted => true)
    from unnest(v_runs) as g
    where g.run_id = any (v_ended)
      and g.run_id = any (v_inserted);
    select
      array_agg(i.run_id),
      array_agg(i.payload)
    into v_inserted, v_payloads
    from unnest(v_inserted, v_payloads) as i(run_id, payload)
    where i.run_id <> all (v_ended);
  end if;
  if v_inserted is not null then
    perform tide._emit(
      v_inserted, array_fill(1, array[cardinality(v_inserted)]), 'run.enqueued', v_payloads
    );
  end if;
  perform tide._lower_floor(g.queue, g.priority, min(g.run_at))
  from unnest(v_runs) as g
  where g.ready
    and g.run_at < g.created_at
  group by
    g.queue,
    g.priority;

  if cardinality(v_runs) > coalesce(cardinality(v_inserted), 0) then
    for v_rest in
      select
        g.ordinality::integer as ordinal,
        e.element ->> 'on_conflict' as on_conflict,
        e.element ->> 'run_id' is not null as given_id
      from (
        select
          u.run_id,
          u.queue,
          u.dedupe_key,
          u.ordinality,
          row_number() over (partition by u.run_id order by u.ordinality) as repeats
        from unnest(v_runs) with ordinality as u
      ) as g
      join jsonb_array_elements(enqueue_many.runs) with ordinality as e(element, ordinality)
        on e.ordinality = g.ordinality
      left join tide.runs_active as a
        on a.queue = g.queue
        and a.dedupe_key = g.dedupe_key
        and a.dedupe_key is not null
        and a.status <> 'pending'
      where not exists (
          select
          from unnest(v_inserted) as i(run_id)
          where i.run_id = g.run_id
        )
        or g.repeats > 1
      order by
        a.run_id nulls last,
        g.ordinality
    loop
      v_run := v_runs[v_rest.ordinal];
      if v_rest.given_id
        and tide._made_before(v_run.run_id, v_run.workflow, v_run.input, inserted => false)
      then
        v_answer := (v_run.run_id, false, null)::tide.enqueued;
      else
        v_answer := tide._enqueue(
          v_run, coalesce(v_rest.on_conflict, 'return'), v_rest.given_id
        );
      end if;
      v_answers[v_rest.ordinal] := v_answer;
    end loop;
  end if;

  return query
  select
    g.ordinality::integer,
    coalesce(v_answers[g.ordinality].run_id, g.run_id),
    coalesce(v_answers[g.ordinality].deduplicated, false)
  from unnest(v_runs) with ordinality as g
  order by g.ordinality;
end;
$$;

comment on function tide.enqueue_many is
  'Queue many runs, all or none: an array of objects with the argument names of enqueue; at most '
  '100000. One row for each, ordinal counted from 1.';

-- functions/queues/set_queue.sql
-- Under the exclusive lock no claim is between reading the cap and committing; runs that run without
-- a slot, because there was no cap when they were claimed, get theirs here.
create or replace function tide.set_queue(queue text, settings jsonb)
returns tide.queues
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant text := tide._valid_name('queue', set_queue.queue);
  v_old tide.queues;
  v_new tide.queues;
begin
  perform tide._known_keys(
    'settings',
    set_queue.settings,
    array[
      'concurrency', 'rate_limit', 'rate_period', 'max_attempts', 'backoff_base', 'backoff_max',
      'backoff_jitter', 'paused', 'retention', 'budget'
    ]
  );
  perform pg_advisory_xact_lock(1953064038, hashtext(v_queue));
  insert into tide.queues (queue)
  values (v_queue)
  on conflict on constraint queues_pkey do nothing;
  select q.*
  into v_old
  from tide.queues as q
  where q.queue = v_queue
  for no key update;

  v_new := tide._merge_settings(v_old, set_queue.settings);
  update tide.queues as q
  set
    paused = v_new.paused,
    concurrency = v_new.concurrency,
    rate_limit = v_new.rate_limit,
    rate_period = v_new.rate_period,
    max_attempts = v_new.max_attempts,
    backoff_base = v_new.backoff_base,
    backoff_max = v_new.backoff_max,
    backoff_jitter = v_new.backoff_jitter,
    retention = v_new.retention,
    budget = v_new.budget,
    updated_at = tide._now()
  where q.queue = v_queue
  returning q.* into v_new;
  perform tide._set_slots(v_queue, v_new.concurrency);
  perform tide._set_permits(v_old, v_new);
  return v_new;
end;
$$;

comment on function tide.set_queue is
  'Change settings of a queue: absent keys stay as they are, null clears. Caps hold from the commit '
  'on; running runs are never stopped, they count.';

-- functions/queues/settle.sql
create or replace function tide.settle(outcomes jsonb)
returns table (run_id uuid, accepted boolean, reason text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_exceptions constant tide.verdict[] := tide._settle(settle.outcomes);
begin
  return query
  select
    (e.outcome ->> 'run_id')::uuid,
    coalesce(v.accepted, true),
    v.reason
  from jsonb_array_elements(settle.outcomes) with ordinality as e(outcome, ordinality)
  left join unnest(v_exceptions) as v on v.run_id = (e.outcome ->> 'run_id')::uuid
  order by e.ordinality;
end;
$$;

comment on function tide.settle is
  'Report the outcomes of leased runs, each judged alone: result, or error with retryable, '
  'failure_class and retry_after, or release with delay. One row for each, in order.';

-- functions/queues/settle_and_claim.sql
create or replace function tide.settle_and_claim(
  outcomes jsonb,
  queues text[] default '{default}',
  max_runs integer default 1,
  lease interval default '60 seconds',
  worker text default null,
  workflows text[] default null
)
returns table (run_id uuid, accepted boolean, reason text, claimed tide.runs)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_max_runs constant integer := tide._valid_integer(
    'max_runs', settle_and_claim.max_runs, 0, 1000
  );
  v_exceptions constant tide.verdict[] := tide._settle(settle_and_claim.outcomes);
begin
  return query
  select
    v.run_id,
    v.accepted,
    v.reason,
    null::tide.runs
  from unnest(v_exceptions) as v;
  if v_max_runs > 0 then
    return query
    select
      c.run_id,
      null::boolean,
      null::text,
      c
    from unnest(
      tide._claim(
        settle_and_claim.queues,
        v_max_runs,
        settle_and_claim.lease,
        settle_and_claim.worker,
        settle_and_claim.workflows
      )
    ) as c;
  end if;
end;
$$;

comment on function tide.settle_and_claim is
  'Settle outcomes and claim new runs in one transaction. A row with accepted set is an outcome that '
  'was not plainly accepted; a row with claimed set is a new run.';

-- functions/runs/_backoff.sql
create or replace function tide._backoff(run tide.runs)
returns interval
language plpgsql
volatile
as $$
declare
  v_queue tide.queues;
  v_base double precision;
  v_max double precision;
  v_jitter double precision;
begin
  select q.*
  into v_queue
  from tide.queues as q
  where q.queue = run.queue;
  v_base := extract(
    epoch from coalesce((run.backoff ->> 'base')::interval, v_queue.backoff_base, '5 seconds')
  );
  v_max := extract(
    epoch from coalesce((run.backoff ->> 'max')::interval, v_queue.backoff_max, '5 minutes')
  );
  v_jitter := coalesce((run.backoff ->> 'jitter')::double precision, v_queue.backoff_jitter, 0.1);
  -- The exponent is clamped: power(2, 1024) is an error, and so is an interval of that length.
  return make_interval(
    secs => least(v_max, v_base * power(2, least(greatest(run.attempt - 1, 0), 20)))
      * (1 + random() * v_jitter)
  );
end;
$$;

comment on function tide._backoff is
  'Delay before the next attempt: min(max, base * 2^(attempt - 1)) and a random share on top; as '
  'the run says, else its queue, else 5 seconds to 5 minutes.';

-- functions/runs/_check_transition.sql
-- The functions make legal moves only; this refuses a hand-written UPDATE. The WHEN clauses keep it
-- out of the way of legal ones: the function is not even called.
create or replace function tide._check_transition()
returns trigger
language plpgsql
as $$
begin
  raise exception 'run % cannot go from % to % by an update', old.run_id, old.status, new.status
    using errcode = 'TD030',
          hint = 'Use tide.cancel, tide.retry or the other functions of the schema.';
end;
$$;

comment on function tide._check_transition is
  'Refuses an update of a run that is no legal move of its lifecycle.';

create or replace trigger runs_active_moves_legally
before update on tide.runs_active
for each row
when (
  old.status is distinct from new.status
  and (old.status = 'running') = (new.status = 'running')
  or new.status not in ('pending', 'queued', 'running')
  or old.run_id <> new.run_id
)
execute function tide._check_transition();

create or replace trigger runs_finished_stay
before update on tide.runs_finished
for each row
when (old.status is distinct from new.status or old.run_id <> new.run_id)
execute function tide._check_transition();

-- functions/runs/_copy_decisions.sql
create or replace function tide._copy_decisions(
  run_id uuid,
  fork_id uuid,
  before timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.gates (
    run_id, name, gate_id, status, prompt, data, capability, expires_at, on_timeout, actor,
    payload, created_at, resolved_at
  )
  select
    _copy_decisions.fork_id,
    g.name,
    tide._uuid7(),
    g.status,
    g.prompt,
    g.data,
    g.capability,
    g.expires_at,
    g.on_timeout,
    g.actor,
    g.payload,
    g.created_at,
    g.resolved_at
  from tide.gates as g
  where g.run_id = _copy_decisions.run_id
    and g.status <> 'pending'
    and g.resolved_at < _copy_decisions.before;
  insert into tide.waits (run_id, kind, name, status, due_at, payload, created_at, ended_at)
  select
    _copy_decisions.fork_id,
    w.kind,
    w.name,
    w.status,
    w.due_at,
    w.payload,
    w.created_at,
    w.ended_at
  from tide.waits as w
  where w.run_id = _copy_decisions.run_id
    and w.ended_at < _copy_decisions.before;
  insert into tide.run_edges (
    parent_id, edge, child_id, edge_type, detached, child_status, metadata, created_at
  )
  select
    _copy_decisions.fork_id,
    e.edge,
    e.child_id,
    e.edge_type,
    -- The children are the original's: cancelling the fork must not reach them.
    true,
    e.child_status,
    e.metadata,
    e.created_at
  from tide.run_edges as e
  where e.parent_id = _copy_decisions.run_id
    and e.created_at < _copy_decisions.before;
end;
$$;

comment on function tide._copy_decisions is
  'Give a fork the gates decided, waits ended and children made before a time, so that they replay.';

-- functions/runs/_expire_leases.sql
-- Without a further delay and at its old place in the queue: the lease that ran out was the delay.
create or replace function tide._expire_leases(run_ids uuid[])
returns integer
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_error constant jsonb := jsonb_build_object(
    'message', 'the lease expired: the worker is gone or was cut off'
  );
begin
  for v_run in
    select r.*
    from tide.runs_active as r
    where r.run_id = any (_expire_leases.run_ids)
  loop
    if v_run.attempt < v_run.max_attempts then
      perform tide._requeue(
        v_run,
        ended_by => null,
        run_at => v_run.run_at,
        counted => true,
        event => 'run.requeued',
        payload => jsonb_build_object(
          'reason', 'lease_expired',
          'attempt', v_run.attempt,
          'max_attempts', v_run.max_attempts,
          'run_at', v_run.run_at,
          'worker', v_run.worker
        ),
        error => v_error
      );
    else
      -- Nobody reported this end, so no late report may pass for its repetition.
      update tide.runs_active as r
      set lease_id = gen_random_uuid()
      where r.run_id = v_run.run_id;
      perform tide._finish(
        array[v_run.run_id],
        'failed',
        errors => array[v_error],
        failure_classes => array['max_retries']
      );
    end if;
  end loop;
  return cardinality(run_ids);
end;
$$;

comment on function tide._expire_leases is
  'Take running runs, locked by the caller, from workers whose lease ran out: next attempt or failed.';

-- functions/runs/_explain_parking.sql
create or replace function tide._explain_parking(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
begin
  case run.waiting_on
    when 'gate' then
      return tide._reason(
        'gate',
        'parked until somebody decides',
        (
          select jsonb_build_object(
            'gate_id', g.gate_id, 'name', g.name, 'prompt', g.prompt, 'expires_at', g.expires_at
          )
          from tide.gates as g
          where g.run_id = run.run_id
            and g.gate_id::text = run.waiting_for
        )
      );
    when 'children' then
      return tide._reason(
        'children',
        'parked until its children end',
        (
          select jsonb_build_object(
            'mode', run.waiting_for,
            'open', count(*),
            'children', coalesce(
              to_jsonb((array_agg(e.child_id order by e.created_at, e.edge))[:20]), '[]'
            )
          )
          from tide.run_edges as e
          where e.parent_id = run.run_id
            and e.awaited
            and e.child_status is null
        )
      );
    when 'budget' then
      return tide._reason(
        'budget',
        'parked until a budget is raised',
        coalesce(tide._over_budget(run), '{}')
      );
    else
      return tide._reason(
        run.waiting_on,
        case run.waiting_on
          when 'timer' then 'parked until a time'
          else 'parked until an event is sent'
        end,
        (
          select jsonb_build_object('name', w.name, 'due_at', w.due_at)
          from tide.waits as w
          where w.run_id = run.run_id
            and w.kind = run.waiting_on
            and w.name = run.waiting_for
        )
      );
  end case;
end;
$$;

comment on function tide._explain_parking is 'What a parked run waits for, for explain_wait.';

-- functions/runs/_fail.sql
create or replace function tide._fail(
  run tide.runs,
  error jsonb,
  retryable boolean,
  failure_class text,
  retry_after interval
)
returns void
language plpgsql
volatile
as $$
declare
  v_run_at timestamptz;
begin
  if retryable and run.attempt < run.max_attempts then
    v_run_at := tide._now() + coalesce(_fail.retry_after, tide._backoff(run));
    perform tide._requeue(
      run,
      ended_by => 'failed',
      run_at => v_run_at,
      counted => true,
      event => 'run.requeued',
      payload => jsonb_build_object(
        'reason', 'failed',
        'attempt', run.attempt,
        'max_attempts', run.max_attempts,
        'run_at', v_run_at,
        'error', _fail.error
      ),
      error => _fail.error
    );
  else
    perform tide._finish(
      array[run.run_id],
      'failed',
      errors => array[_fail.error],
      failure_classes => array[
        coalesce(
          _fail.failure_class,
          case when retryable and run.max_attempts > 1 then 'max_retries' else 'error' end
        )
      ]
    );
  end if;
end;
$$;

comment on function tide._fail is
  'End an attempt that failed: another one after its backoff, or the run has failed.';

-- functions/runs/_find_run.sql
create or replace function tide._find_run(run_id uuid)
returns tide.runs
language plpgsql
stable
as $$
declare
  v_run tide.runs;
begin
  select r.*
  into v_run
  from tide.runs as r
  where r.run_id = _find_run.run_id;
  if not found then
    raise exception 'run % does not exist', coalesce(_find_run.run_id::text, 'null')
      using errcode = 'TD010',
            hint = 'Check the id; retention may have removed the run.';
  end if;
  v_run.lease_id := null;
  return v_run;
end;
$$;

comment on function tide._find_run is
  'The run, active or finished, without its lease id; unknown: TD010.';

-- functions/runs/_finish.sql
-- The only way out of runs_active: delete and insert in one statement. An update of the partition
-- key would give concurrent lockers 40001; a deleted row makes them look in runs_finished.
create or replace function tide._finish(
  run_ids uuid[],
  status text,
  results jsonb[] default null,
  errors jsonb[] default null,
  failure_classes text[] default null,
  reason text default null,
  actor text default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_ids uuid[];
  v_seqs integer[];
  v_payloads jsonb[];
  v_queues text[];
  v_slots integer[];
  v_asking uuid[];
  v_children uuid[];
begin
  with gone as (
    delete from tide.runs_active as r
    using unnest(
      _finish.run_ids,
      _finish.results,
      _finish.errors,
      _finish.failure_classes
    ) as f(run_id, result, error, failure_class)
    where r.run_id = f.run_id
    returning
      r.*,
      f.result as given_result,
      f.error as given_error,
      f.failure_class as given_failure_class
  ), kept as (
    insert into tide.runs_finished (
      run_id, workflow, queue, status, dedupe_key, priority, attempt, max_attempts, last_seq,
      run_at, created_at, started_at, finished_at, deadline_at, lease, lease_id, worker,
      ended_by, failure_class, cancel_reason, cancel_actor,
      input, metadata, result, error, backoff, deadline, parent_id, forked_from, budget
    )
    select
      g.run_id,
      g.workflow,
      g.queue,
      _finish.status,
      g.dedupe_key,
      g.priority,
      g.attempt,
      g.max_attempts,
      g.last_seq + 1,
      case when g.waiting_on is null then g.run_at else v_now end,
      g.created_at,
      g.started_at,
      v_now,
      g.deadline_at,
      g.lease,
      g.lease_id,
      g.worker,
      _finish.status,
      g.given_failure_class,
      _finish.reason,
      _finish.actor,
      g.input,
      g.metadata,
      g.given_result,
      case when _finish.status = 'completed' then null else coalesce(g.given_error, g.error) end,
      g.backoff,
      g.deadline,
      g.parent_id,
      g.forked_from,
      g.budget
    from gone as g
  )
  select
    array_agg(g.run_id),
    array_agg(g.last_seq + 1),
    array_agg(
      case _finish.status
        when 'completed' then jsonb_build_object('attempt', g.attempt)
        when 'failed' then jsonb_build_object(
          'attempt', g.attempt,
          'failure_class', g.given_failure_class,
          'error', g.given_error
        )
        else jsonb_build_object('reason', _finish.reason, 'actor', _finish.actor)
      end
    ),
    array_agg(g.queue) filter (where g.slot is not null),
    array_agg(g.slot) filter (where g.slot is not null),
    array_agg(g.run_id) filter (where g.open_gates > 0),
    array_agg(g.run_id) filter (where g.parent_id is not null)
  into v_run_ids, v_seqs, v_payloads, v_queues, v_slots, v_asking, v_children
  from gone as g;

  if v_slots is not null then
    update tide.slots as s
    set run_id = null
    from unnest(v_queues, v_slots) as f(queue, slot)
    where s.queue = f.queue
      and s.slot = f.slot
      and s.run_id = any (v_run_ids);
  end if;
  perform tide._emit(v_run_ids, v_seqs, 'run.' || _finish.status, v_payloads);

  if v_asking is not null then
    update tide.gates as g
    set
      status = 'canceled',
      actor = 'tide',
      resolved_at = v_now
    where g.run_id = any (v_asking)
      and g.status = 'pending';
  end if;
  if _finish.status = 'cancelled' then
    perform tide._begin_cascade(v_run_ids, _finish.reason, _finish.actor);
  end if;
  if v_children is not null then
    perform tide._children_ended(v_children, _finish.status);
  end if;
end;
$$;

comment on function tide._finish is
  'End runs whose rows the caller has locked: move them to runs_finished, free their slots, log it, '
  'close their gates and tell parents and children.';

-- functions/runs/_hold.sql
-- Waits for the run row, then judges: whoever ended the run meanwhile has deleted the active row,
-- so the second look, with a newer snapshot, finds it finished.
create or replace function tide._hold(
  run_id uuid,
  lease_id uuid,
  repeated text default null
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  select r.*
  into v_run
  from tide.runs_active as r
  where r.run_id = _hold.run_id
  for no key update;
  if not found then
    select r.*
    into v_run
    from tide.runs as r
    where r.run_id = _hold.run_id;
    if not found then
      raise exception 'run % does not exist', coalesce(_hold.run_id::text, 'null')
        using errcode = 'TD010',
              hint = 'Check the id; retention may have removed the run.';
    end if;
  end if;

  if v_run.lease_id = _hold.lease_id
    and (v_run.status = 'running' or v_run.ended_by = _hold.repeated)
  then
    return v_run;
  end if;

  if v_run.status = 'cancelled' then
    raise exception 'run % is cancelled', _hold.run_id
      using errcode = 'TD001',
            detail = format(
              'Reason: %s. Actor: %s.',
              coalesce(v_run.cancel_reason, 'none given'),
              coalesce(v_run.cancel_actor, 'none given')
            ),
            hint = 'Stop working on this run.';
  elsif v_run.status in ('completed', 'failed') then
    raise exception 'run % is finished: %', _hold.run_id, v_run.status
      using errcode = 'TD003',
            hint = 'Stop working on this run.';
  end if;
  raise exception 'the lease on run % is lost', _hold.run_id
    using errcode = 'TD002',
          detail = format('The run is %s, attempt %s.', v_run.status, v_run.attempt),
          hint = 'Stop working on this run; it belongs to another attempt.';
end;
$$;

comment on function tide._hold is
  'Lock a leased run and return it, or say why the caller may not write: TD001, TD002, TD003, TD010. '
  'A run that is not running is returned only for the same report, repeated.';

-- functions/runs/_lock_active.sql
create or replace function tide._lock_active(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = _lock_active.run_id
    for no key update;
    if found then
      return v_run;
    end if;
    v_run := tide._find_run(_lock_active.run_id);
    exit when v_run.finished_at is not null;
  end loop;
  -- Nobody's lease: _hold says what became of the run.
  return tide._hold(_lock_active.run_id, null);
end;
$$;

comment on function tide._lock_active is
  'Lock an active run for somebody who holds no lease; ended: TD001 or TD003, unknown: TD010.';

-- functions/runs/_lock_any.sql
create or replace function tide._lock_any(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = _lock_any.run_id
    for no key update;
    exit when found;
    select r.*
    into v_run
    from tide.runs_finished as r
    where r.run_id = _lock_any.run_id
    for no key update;
    exit when found;
    perform tide._find_run(_lock_any.run_id);
  end loop;
  return v_run;
end;
$$;

comment on function tide._lock_any is 'Lock a run, active or finished; unknown: TD010.';

-- functions/runs/_lock_for.sql
create or replace function tide._lock_for(run_id uuid, lease_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
begin
  if lease_id is not null then
    return tide._hold(_lock_for.run_id, _lock_for.lease_id);
  end if;
  return tide._lock_active(_lock_for.run_id);
end;
$$;

comment on function tide._lock_for is
  'Lock an active run: for its worker when a lease id is given, else for anybody who may.';

-- functions/runs/_made_before.sql
-- Called after the insert, with a newer snapshot: an earlier call with this id either is the active
-- row the insert met, or ended so long ago that its finished row is visible by now.
create or replace function tide._made_before(
  run_id uuid,
  workflow text,
  input jsonb,
  inserted boolean
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_earlier tide.runs;
begin
  select r.*
  into v_earlier
  from tide.runs_finished as r
  where r.run_id = _made_before.run_id;
  if found then
    if inserted then
      delete from tide.runs_active as r
      where r.run_id = _made_before.run_id;
    end if;
  elsif inserted then
    return false;
  else
    select r.*
    into v_earlier
    from tide.runs_active as r
    where r.run_id = _made_before.run_id;
    if not found then
      return false;
    end if;
  end if;
  if v_earlier.workflow is distinct from _made_before.workflow
    or v_earlier.input is distinct from coalesce(_made_before.input, '{}')
  then
    raise exception 'run_id % belongs to another run', _made_before.run_id
      using errcode = 'TD020',
            detail = format('It was made for workflow %s.', v_earlier.workflow),
            hint = 'Repeat a call with the same workflow and input, or make a new id.';
  end if;
  return true;
end;
$$;

comment on function tide._made_before is
  'Whether an earlier call made the run with this id; with another workflow or input: TD020.';

-- functions/runs/_park.sql
create or replace function tide._park(
  run tide.runs,
  waiting_on text,
  waiting_for text,
  payload jsonb default '{}'
)
returns void
language plpgsql
volatile
as $$
begin
  perform tide._requeue(
    run,
    ended_by => null,
    run_at => 'infinity',
    counted => false,
    event => 'run.parked',
    payload => jsonb_build_object(
      'waiting_on', _park.waiting_on,
      'waiting_for', _park.waiting_for
    ) || _park.payload,
    waiting_on => _park.waiting_on,
    waiting_for => _park.waiting_for
  );
end;
$$;

comment on function tide._park is
  'Let a leased run wait without lease, slot, worker or attempt until _resume wakes it.';

-- functions/runs/_reason.sql
create or replace function tide._reason(
  reason text,
  detail text,
  facts jsonb default '{}'
)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  return jsonb_build_array(
    jsonb_build_object('reason', _reason.reason, 'detail', _reason.detail) || facts
  );
end;
$$;

comment on function tide._reason is 'A list of one reason, for explain_wait.';

-- functions/runs/_refuse_overdue.sql
create or replace function tide._refuse_overdue(run tide.runs)
returns boolean
language plpgsql
volatile
as $$
begin
  if run.deadline_at <= tide._now() then
    raise exception 'run % is cancelled: its deadline has passed', run.run_id
      using errcode = 'TD001',
            detail = format('The deadline was %s.', run.deadline_at),
            hint = 'Stop working on this run; upkeep records the cancellation.';
  end if;
  return false;
end;
$$;

comment on function tide._refuse_overdue is
  'TD001 once the deadline has passed, whether or not upkeep has been there yet.';

-- functions/runs/_release.sql
create or replace function tide._release(run tide.runs, delay interval)
returns void
language plpgsql
volatile
as $$
declare
  -- Without a delay the run keeps its place in the queue.
  v_run_at constant timestamptz := case
    when delay > interval '0' then tide._now() + delay
    else run.run_at
  end;
begin
  perform tide._requeue(
    run,
    ended_by => 'released',
    run_at => v_run_at,
    counted => false,
    event => 'run.requeued',
    payload => jsonb_build_object(
      'reason', 'released',
      'attempt', run.attempt,
      'max_attempts', run.max_attempts,
      'run_at', v_run_at
    )
  );
end;
$$;

comment on function tide._release is 'Put a locked, running run back without counting the attempt.';

-- functions/runs/_requeue.sql
create or replace function tide._requeue(
  run tide.runs,
  ended_by text,
  run_at timestamptz,
  counted boolean,
  event text,
  payload jsonb,
  error jsonb default null,
  waiting_on text default null,
  waiting_for text default null
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_ready constant boolean := run.queue is not null
    and _requeue.waiting_on is null
    and _requeue.run_at <= tide._now();
begin
  update tide.runs_active as r
  set
    status = case when r.queue is null then 'pending' else 'queued' end,
    ready = v_ready,
    waiting_on = _requeue.waiting_on,
    waiting_for = _requeue.waiting_for,
    run_at = _requeue.run_at,
    leased_until = null,
    slot = null,
    -- Whose attempt nobody reported on loses its lease id, so that a late report is refused.
    lease_id = case when _requeue.ended_by is not null then r.lease_id end,
    ended_by = _requeue.ended_by,
    attempt = r.attempt - case when _requeue.counted then 0 else 1 end,
    error = coalesce(_requeue.error, r.error),
    last_seq = r.last_seq + 1
  where r.run_id = run.run_id
  returning r.* into v_run;
  if run.slot is not null then
    update tide.slots as s
    set run_id = null
    where s.queue = run.queue
      and s.slot = run.slot
      and s.run_id = run.run_id;
  end if;
  if v_ready then
    perform tide._lower_floor(v_run.queue, v_run.priority, v_run.run_at);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    _requeue.event,
    array[_requeue.payload]
  );
  return v_run;
end;
$$;

comment on function tide._requeue is
  'Take a running run from its worker and let it wait: for its next attempt, or parked. The caller '
  'has locked the row.';

-- functions/runs/_resume.sql
create or replace function tide._resume(run tide.runs, payload jsonb)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_seq integer;
begin
  if run.waiting_on is null then
    return;
  end if;
  update tide.runs_active as r
  set
    waiting_on = null,
    waiting_for = null,
    run_at = v_now,
    ready = r.queue is not null,
    last_seq = r.last_seq + 1
  where r.run_id = run.run_id
  returning r.last_seq into v_seq;
  perform tide._emit(array[run.run_id], array[v_seq], 'run.resumed', array[_resume.payload]);
end;
$$;

comment on function tide._resume is 'Wake a parked run the caller has locked: it may be claimed again.';

-- functions/runs/_undo_ending.sql
create or replace function tide._undo_ending(run tide.runs)
returns void
language plpgsql
volatile
as $$
begin
  -- Gates that only the end of the run closed, nobody's decision has no payload, are asked again.
  delete from tide.gates as g
  where g.run_id = run.run_id
    and g.status = 'canceled'
    and g.actor = 'tide'
    and g.payload is null;
  delete from tide.cascades as c
  where c.parent_id = run.run_id;
  if run.parent_id is not null then
    update tide.run_edges as e
    set
      child_status = null,
      noticed = true
    where e.child_id = run.run_id;
  end if;
end;
$$;

comment on function tide._undo_ending is
  'Take back what the end of a run meant to its gates, children and parent, before it is retried.';

-- functions/runs/_valid_backoff.sql
create or replace function tide._valid_backoff(backoff jsonb, prefix text default '')
returns jsonb
language plpgsql
stable
parallel safe
as $$
declare
  v_key text;
  v_length interval;
  v_jitter numeric;
begin
  if backoff is null then
    return null;
  end if;
  perform tide._known_keys(prefix || 'backoff', backoff, '{base,max,jitter}');
  foreach v_key in array array['base', 'max'] loop
    v_length := tide._option_interval(prefix || 'backoff.' || v_key, backoff -> v_key);
    if v_length is not null then
      perform tide._valid_interval(prefix || 'backoff.' || v_key, v_length, '0', '365 days');
    end if;
  end loop;
  v_jitter := tide._option_number(prefix || 'backoff.jitter', backoff -> 'jitter');
  if v_jitter not between 0 and 1 then
    raise exception '%backoff.jitter is out of range: %', prefix, left(v_jitter::text, 200)
      using errcode = '22023',
            hint = 'Give a number from 0 to 1.';
  end if;
  return backoff;
end;
$$;

comment on function tide._valid_backoff is
  'The backoff object of a run, or 22023: base and max are intervals as text, jitter is 0 to 1.';

-- functions/runs/_valid_deadline.sql
create or replace function tide._valid_deadline(deadline interval, prefix text default '')
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if deadline is null then
    return null;
  end if;
  return tide._valid_interval(
    prefix || 'deadline', deadline, '1 millisecond', '3650 days'
  );
end;
$$;

comment on function tide._valid_deadline is
  'The length of time a run has, or 22023; null = no deadline.';

-- functions/runs/_valid_failure_class.sql
create or replace function tide._valid_failure_class(failure_class text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if failure_class is null then
    return null;
  end if;
  return tide._valid_name('failure_class', failure_class);
end;
$$;

comment on function tide._valid_failure_class is
  'A short name for why a run failed, or 22023; null = error or max_retries.';

-- functions/runs/_valid_lease.sql
create or replace function tide._valid_lease(lease interval)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  return tide._valid_interval('lease', lease, '100 milliseconds', '24 hours');
end;
$$;

comment on function tide._valid_lease is 'The length of a lease, or 22023.';

-- functions/runs/_valid_metadata.sql
create or replace function tide._valid_metadata(argument text, metadata jsonb)
returns jsonb
language plpgsql
stable
parallel safe
as $$
begin
  if metadata is null then
    return '{}'::jsonb;
  elsif jsonb_typeof(metadata) = 'object' then
    return tide._valid_payload(argument, metadata);
  end if;
  raise exception '% is not a JSON object: %', _valid_metadata.argument,
      left(metadata::text, 200)
    using errcode = '22023',
          hint = 'Give an object of facts to find the run by, such as {"customer": 42}.';
end;
$$;

comment on function tide._valid_metadata is
  'Facts to find a run by: an object, {} for null, else 22023 or TD040.';

-- functions/runs/_valid_priority.sql
create or replace function tide._valid_priority(priority integer)
returns integer
language plpgsql
immutable
parallel safe
as $$
begin
  if priority is null then
    return null;
  end if;
  return tide._valid_integer('priority', priority, -32768, 32767);
end;
$$;

comment on function tide._valid_priority is 'A priority, or 22023; null passes.';

-- functions/runs/_valid_retry_after.sql
create or replace function tide._valid_retry_after(retry_after interval)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if retry_after is null then
    return null;
  end if;
  return tide._valid_interval('retry_after', retry_after, '0', '365 days');
end;
$$;

comment on function tide._valid_retry_after is
  'A delay before the next attempt, or 22023; null = the backoff.';

-- functions/runs/_valid_worker.sql
create or replace function tide._valid_worker(worker text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if worker is null then
    return null;
  end if;
  return tide._valid_text('worker', worker, 256);
end;
$$;

comment on function tide._valid_worker is 'The label of a worker, or 22023; null = none.';

-- functions/runs/begin_run.sql
create or replace function tide.begin_run(
  run_id uuid,
  worker text default null,
  lease interval default '60 seconds'
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_lease constant interval := tide._valid_lease(begin_run.lease);
  v_worker constant text := tide._valid_worker(begin_run.worker);
  v_run tide.runs;
  v_now timestamptz;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = begin_run.run_id
    for no key update;
    exit when found;
    v_run := tide._find_run(begin_run.run_id);
    if v_run.status = 'completed' then
      return v_run;
    elsif v_run.finished_at is not null then
      -- Nobody's lease: _hold says what became of the run.
      return tide._hold(begin_run.run_id, null);
    end if;
  end loop;

  v_now := tide._now();
  if v_run.deadline_at <= v_now then
    perform tide._finish(
      array[v_run.run_id], 'cancelled', reason => 'deadline', actor => 'tide'
    );
    return tide._find_run(v_run.run_id);
  elsif v_run.status = 'queued' then
    raise exception 'run % is queued and cannot be begun by id', v_run.run_id
      using errcode = 'TD030',
            hint = format('Let a worker of queue %s claim it.', v_run.queue);
  elsif v_run.status = 'running'
    and (v_run.queue is not null or v_run.leased_until > v_now)
  then
    raise exception 'run % is leased by %', v_run.run_id, coalesce(v_run.worker, 'another worker')
      using errcode = 'TD004',
            detail = format('The lease lasts until %s.', v_run.leased_until),
            hint = 'Wait for it to end, or cancel the run.';
  end if;

  update tide.runs_active as r
  set
    status = 'running',
    waiting_on = null,
    waiting_for = null,
    run_at = case when r.waiting_on is null then r.run_at else v_now end,
    attempt = r.attempt + 1,
    started_at = v_now,
    leased_until = v_now + v_lease,
    lease = v_lease,
    lease_id = gen_random_uuid(),
    worker = v_worker,
    ended_by = null,
    last_seq = r.last_seq + 1
  where r.run_id = v_run.run_id
  returning r.* into v_run;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    'run.started',
    array[jsonb_build_object('attempt', v_run.attempt, 'worker', v_run.worker)]
  );
  return v_run;
end;
$$;

comment on function tide.begin_run is
  'Lease a pending run, or a plain run whose lease expired, by its id. Completed: the run as it is; '
  'overdue: the run, cancelled; else TD001, TD003, TD004.';

-- functions/runs/cancel.sql
create or replace function tide.cancel(
  run_id uuid,
  reason text default null,
  actor text default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_reason constant text := tide._valid_note('reason', cancel.reason);
  v_actor constant text := tide._valid_note('actor', cancel.actor);
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    perform
    from tide.runs_active as r
    where r.run_id = cancel.run_id
    for no key update;
    if found then
      perform tide._finish(
        array[cancel.run_id], 'cancelled', reason => v_reason, actor => v_actor
      );
    end if;
    v_run := tide._find_run(cancel.run_id);
    exit when v_run.finished_at is not null;
  end loop;
  if v_run.status <> 'cancelled' then
    raise exception 'run % is finished: %', v_run.run_id, v_run.status
      using errcode = 'TD003',
            detail = format('It ended at %s.', v_run.finished_at),
            hint = 'A finished run cannot be cancelled.';
  end if;
  return v_run;
end;
$$;

comment on function tide.cancel is
  'Cancel an active run at once and for good; again: the same row, first reason kept. Completed or '
  'failed: TD003.';

-- functions/runs/cancel_many.sql
create or replace function tide.cancel_many(
  queue text default null,
  workflow text default null,
  metadata jsonb default null,
  reason text default null,
  actor text default null,
  max_runs integer default 1000
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_reason constant text := tide._valid_note('reason', cancel_many.reason);
  v_actor constant text := tide._valid_note('actor', cancel_many.actor);
  v_limit constant integer := tide._valid_integer(
    'max_runs', cancel_many.max_runs, 1, 100000
  );
  v_run_ids uuid[];
begin
  if cancel_many.queue is null
    and cancel_many.workflow is null
    and coalesce(cancel_many.metadata, '{}') = '{}'
  then
    raise exception 'queue, workflow and metadata are all null or empty'
      using errcode = '22023',
            hint = 'Name at least one, so that nobody cancels everything by a slip.';
  end if;
  v_run_ids := array(
    select r.run_id
    from tide.runs_active as r
    where (cancel_many.queue is null or r.queue = cancel_many.queue)
      and (cancel_many.workflow is null or r.workflow = cancel_many.workflow)
      and (cancel_many.metadata is null or r.metadata @> cancel_many.metadata)
    order by r.run_id
    limit v_limit
    for no key update skip locked
  );
  if cardinality(v_run_ids) > 0 then
    perform tide._finish(v_run_ids, 'cancelled', reason => v_reason, actor => v_actor);
  end if;
  return cardinality(v_run_ids);
end;
$$;

comment on function tide.cancel_many is
  'Cancel active runs by queue, workflow and contained metadata, oldest first, and return how many. '
  'Passes over runs another transaction holds: repeat until it returns 0.';

-- functions/runs/complete.sql
create or replace function tide.complete(
  run_id uuid,
  lease_id uuid,
  result jsonb default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_result constant jsonb := tide._valid_payload('result', complete.result);
  v_run constant tide.runs := tide._hold(complete.run_id, complete.lease_id, 'completed');
begin
  if v_run.status = 'running' then
    perform tide._refuse_overdue(v_run);
    perform tide._finish(array[v_run.run_id], 'completed', results => array[v_result]);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.complete is
  'Finish a leased run successfully; the same call again gives the same answer.';

-- functions/runs/create_run.sql
create or replace function tide.create_run(
  workflow text,
  input jsonb default '{}',
  metadata jsonb default '{}',
  deadline interval default null,
  max_attempts integer default 1,
  budget jsonb default null,
  run_id uuid default null,
  backoff jsonb default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run_id constant uuid := coalesce(create_run.run_id, tide._uuid7());
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
begin
  insert into tide.runs_active as r (
    run_id, workflow, status, max_attempts, last_seq, run_at, created_at, deadline_at,
    input, metadata, backoff, deadline, budget
  )
  values (
    v_run_id,
    tide._valid_name('workflow', create_run.workflow),
    'pending',
    tide._valid_integer('max_attempts', create_run.max_attempts, 1, 100),
    1,
    v_now,
    v_now,
    v_now + tide._valid_deadline(create_run.deadline),
    coalesce(tide._valid_payload('input', create_run.input), '{}'),
    tide._valid_metadata('metadata', create_run.metadata),
    tide._valid_backoff(create_run.backoff),
    create_run.deadline,
    tide._valid_budget(create_run.budget)
  )
  on conflict do nothing
  returning r.* into v_run;
  if create_run.run_id is not null
    and tide._made_before(v_run_id, create_run.workflow, create_run.input, inserted => found)
  then
    return tide._find_run(v_run_id);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[1],
    'run.created',
    array[
      jsonb_build_object('workflow', v_run.workflow, 'max_attempts', v_run.max_attempts)
    ]
  );
  return v_run;
end;
$$;

comment on function tide.create_run is
  'Make a pending run, begun by its id; the same run_id again returns the run it made.';

-- functions/runs/describe_run.sql
-- Stable, so that everything below is read from one snapshot.
create or replace function tide.describe_run(run_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._find_run(describe_run.run_id);
begin
  return jsonb_build_object(
    'run', to_jsonb(v_run) - 'lease_id',
    'steps', (
      select coalesce(
        jsonb_agg(
          to_jsonb(s) - '{run_id,lease_id,input_hash}'::text[]
          order by s.started_at, s.name
        ),
        '[]'
      )
      from tide.steps as s
      where s.run_id = v_run.run_id
    ),
    'gates', (
      select coalesce(
        jsonb_agg(to_jsonb(g) - '{run_id,token_hash}'::text[] order by g.created_at, g.name),
        '[]'
      )
      from tide.gates as g
      where g.run_id = v_run.run_id
    ),
    'waits', (
      select coalesce(jsonb_agg(to_jsonb(w) - 'run_id' order by w.created_at, w.name), '[]')
      from tide.waits as w
      where w.run_id = v_run.run_id
    ),
    'children', (
      select coalesce(
        jsonb_agg(
          to_jsonb(c) - '{parent_id,noticed}'::text[]
          order by c.created_at, c.edge
        ),
        '[]'
      )
      from (
        select e.*
        from tide.run_edges as e
        where e.parent_id = v_run.run_id
        order by
          e.created_at desc,
          e.edge
        limit 1000
      ) as c
    ),
    'state', (
      select coalesce(jsonb_object_agg(s.stream, to_jsonb(s) - '{run_id,stream}'::text[]), '{}')
      from tide.state_streams as s
      where s.run_id = v_run.run_id
    ),
    'usage', (
      select to_jsonb(u) - 'run_id'
      from tide.usage_by_run as u
      where u.run_id = v_run.run_id
    ),
    'events', (
      select coalesce(jsonb_agg(to_jsonb(n) - 'run_id' order by n.seq), '[]')
      from (
        select e.*
        from tide.events as e
        where e.run_id = v_run.run_id
        order by e.seq desc
        limit 1000
      ) as n
    )
  );
end;
$$;

comment on function tide.describe_run is
  'Everything about a run in one snapshot, as jsonb: run, steps, gates, waits, children '
  '(newest 1000), state, usage totals, events (newest 1000).';

-- functions/runs/explain_wait.sql
create or replace function tide.explain_wait(run_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run constant tide.runs := tide._find_run(explain_wait.run_id);
  v_queue tide.queues;
  v_reasons jsonb := '[]'::jsonb;
  v_ahead bigint;
begin
  select q.*
  into v_queue
  from tide.queues as q
  where q.queue = v_run.queue;

  if v_run.status = 'pending' and v_run.waiting_on is null then
    v_reasons := v_reasons || tide._reason(
      'begin_run', 'a plain run starts when begin_run is called'
    );
  elsif v_run.waiting_on = 'review' then
    v_reasons := v_reasons || tide._reason(
      'review',
      'parked until an operator resolves a step',
      jsonb_build_object(
        'steps', (
          select coalesce(jsonb_agg(s.name order by s.name), '[]')
          from tide.steps as s
          where s.run_id = v_run.run_id
            and s.status = 'manual_review'
        )
      )
    );
  elsif v_run.waiting_on is not null then
    v_reasons := v_reasons || tide._explain_parking(v_run);
  elsif v_run.status = 'running' and v_run.leased_until < v_now then
    v_reasons := v_reasons || tide._reason(
      'lease_expired',
      case
        when v_run.queue is null then 'its worker went silent; begin_run may take it over'
        else 'its worker went silent; upkeep hands the run out again'
      end,
      jsonb_build_object('worker', v_run.worker, 'leased_until', v_run.leased_until)
    );
  elsif v_run.status = 'queued' then
    if v_run.run_at > v_now then
      v_reasons := v_reasons || tide._reason(
        'not_due', 'its time has not come', jsonb_build_object('run_at', v_run.run_at)
      );
    end if;
    if v_queue.paused then
      v_reasons := v_reasons || tide._reason('paused', 'the queue is paused');
    end if;
    v_reasons := v_reasons || tide._explain_cap(v_queue) || tide._explain_rate(v_queue, v_now);
    if not exists (
      select
      from tide.workers as w
      where w.seen_at > v_now - interval '1 minute'
        and v_run.queue = any (w.queues)
        and (w.workflows is null or v_run.workflow = any (w.workflows))
    ) then
      v_reasons := v_reasons || tide._reason(
        'no_worker', 'no named worker claimed this queue and workflow within the last minute'
      );
    end if;
    select count(*)
    into v_ahead
    from (
      select
      from tide.runs_active as r
      where r.queue = v_run.queue
        and r.ready
        and (
          r.priority > v_run.priority
          or (r.priority = v_run.priority and (r.run_at, r.run_id) < (v_run.run_at, v_run.run_id))
        )
      limit 10000
    ) as a;
    if v_ahead > 0 then
      v_reasons := v_reasons || tide._reason(
        'behind',
        'other ready runs come first',
        jsonb_build_object('runs', v_ahead, 'at_least', v_ahead = 10000)
      );
    end if;
  end if;
  return jsonb_build_object(
    'run_id', v_run.run_id,
    'status', v_run.status,
    'queue', v_run.queue,
    'workflow', v_run.workflow,
    'reasons', v_reasons
  );
end;
$$;

comment on function tide.explain_wait is
  'Why a run is not running, as jsonb: reasons such as not_due, review, paused, cap, rate, no_worker, '
  'behind; none when it runs, may be claimed now or has ended.';

-- functions/runs/fail.sql
create or replace function tide.fail(
  run_id uuid,
  lease_id uuid,
  error jsonb default '{}',
  retryable boolean default true,
  failure_class text default null,
  retry_after interval default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_error constant jsonb := coalesce(tide._valid_payload('error', fail.error), '{}');
  v_class constant text := tide._valid_failure_class(fail.failure_class);
  v_after constant interval := tide._valid_retry_after(fail.retry_after);
  v_run constant tide.runs := tide._hold(fail.run_id, fail.lease_id, 'failed');
begin
  if v_run.status = 'running' then
    perform tide._fail(v_run, v_error, coalesce(fail.retryable, true), v_class, v_after);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.fail is
  'End a leased attempt with an error: another attempt after its backoff while any is left and the '
  'error is retryable, else the run has failed. The same call again gives the same answer.';

-- functions/runs/fork_run.sql
create or replace function tide.fork_run(
  run_id uuid,
  at_step text,
  input jsonb default null,
  overrides jsonb default '{}',
  fork_id uuid default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_input constant jsonb := tide._valid_payload('input', fork_run.input);
  v_fork_id constant uuid := coalesce(fork_run.fork_id, tide._uuid7());
  v_now constant timestamptz := tide._now();
  v_old tide.runs;
  v_new tide.runs;
  v_step tide.steps;
  v_copied text[];
begin
  select r.*
  into v_old
  from tide.runs as r
  where r.run_id = fork_run.run_id;
  if not found then
    v_old := tide._find_run(fork_run.run_id);
  end if;
  select s.*
  into v_step
  from tide.steps as s
  where s.run_id = v_old.run_id
    and s.name = fork_run.at_step;
  if not found then
    raise exception 'run % has no step %', v_old.run_id,
        coalesce(quote_literal(left(fork_run.at_step, 200)), 'null')
      using errcode = 'TD010',
            hint = 'See describe_run for its steps.';
  end if;
  insert into tide.runs_active as r (
    run_id, workflow, queue, status, priority, max_attempts, last_seq, ready, run_at, created_at,
    deadline_at, input, metadata, backoff, budget, deadline, forked_from
  )
  values (
    v_fork_id,
    v_old.workflow,
    v_old.queue,
    case when v_old.queue is null then 'pending' else 'queued' end,
    v_old.priority,
    v_old.max_attempts,
    1,
    v_old.queue is not null,
    v_now,
    v_now,
    v_now + v_old.deadline,
    coalesce(v_input, v_old.input),
    v_old.metadata,
    v_old.backoff,
    v_old.budget,
    v_old.deadline,
    v_old.run_id
  )
  on conflict do nothing
  returning r.* into v_new;
  if fork_run.fork_id is not null
    and tide._made_before(
      v_fork_id, v_old.workflow, coalesce(v_input, v_old.input), inserted => found
    )
  then
    v_new := tide._find_run(v_fork_id);
    if v_new.forked_from is distinct from v_old.run_id then
      raise exception 'fork_id % belongs to another run', v_fork_id
        using errcode = 'TD020',
              hint = 'Make a new id.';
    end if;
    return v_new;
  end if;

  insert into tide.steps (
    run_id, name, status, attempt, replay, side_effects, idempotency_key, checkpoint_invariant,
    verified_by, timeout, input_hash, started_at, finished_at, output, decided_by, position
  )
  select
    v_fork_id,
    s.name,
    s.status,
    s.attempt,
    s.replay,
    s.side_effects,
    s.idempotency_key,
    s.checkpoint_invariant,
    s.verified_by,
    s.timeout,
    s.input_hash,
    s.started_at,
    s.finished_at,
    case
      when fork_run.overrides ? s.name then fork_run.overrides -> s.name
      else s.output
    end,
    s.decided_by,
    -- Below every event of the fork, so that a fork of the fork copies them too.
    s.position - v_step.position
  from tide.steps as s
  where s.run_id = v_old.run_id
    and s.status = 'completed'
    and s.position < v_step.position;
  v_copied := array(
    select s.name
    from tide.steps as s
    where s.run_id = v_fork_id
  );
  perform tide._known_keys(
    'overrides',
    coalesce(tide._valid_payload('overrides', fork_run.overrides), '{}'),
    v_copied
  );
  perform tide._copy_decisions(v_old.run_id, v_fork_id, v_step.started_at);

  perform tide._emit(
    array[v_new.run_id],
    array[1],
    case when v_new.queue is null then 'run.created' else 'run.enqueued' end,
    array[
      tide._enqueued_payload(v_new) || jsonb_build_object(
        'forked_from', v_old.run_id, 'at_step', v_step.name, 'steps', to_jsonb(v_copied)
      )
    ]
  );
  return v_new;
end;
$$;

comment on function tide.fork_run is
  'A new run with the checkpoints of another before a step, outputs replaced by overrides (step name '
  'to output) and, if given, another input; the original stays as it is. Unknown step: TD010.';

-- functions/runs/get_run.sql
create or replace function tide.get_run(run_id uuid)
returns tide.runs
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return tide._find_run(get_run.run_id);
end;
$$;

comment on function tide.get_run is 'The run, active or finished; unknown: TD010.';

-- functions/runs/heartbeat.sql
create or replace function tide.heartbeat(
  run_ids uuid[],
  lease_ids uuid[],
  lease interval default '60 seconds'
)
returns table (run_id uuid, state text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_lease constant interval := tide._valid_lease(heartbeat.lease);
  v_now constant timestamptz := tide._now();
  v_held uuid[];
  v_overdue uuid[];
begin
  if heartbeat.run_ids is null
    or cardinality(heartbeat.run_ids) is distinct from cardinality(heartbeat.lease_ids)
    or cardinality(heartbeat.run_ids) > 10000
    or array_ndims(heartbeat.run_ids) > 1
    or array_ndims(heartbeat.lease_ids) > 1
    or exists (
      select
      from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
      where b.run_id is null
        or b.lease_id is null
    )
  then
    raise exception 'run_ids and lease_ids do not match or hold null: % and % entries',
        coalesce(cardinality(heartbeat.run_ids)::text, 'null'),
        coalesce(cardinality(heartbeat.lease_ids)::text, 'null')
      using errcode = '22023',
            hint = 'Give one lease id for each run id, at most 10000.';
  end if;

  -- Skip locked: a worker must never wait behind its own open business transaction.
  select
    array_agg(l.run_id) filter (where l.deadline_at is null or l.deadline_at > v_now),
    array_agg(l.run_id) filter (where l.deadline_at <= v_now)
  into v_held, v_overdue
  from (
    select
      r.run_id,
      r.deadline_at
    from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
    join tide.runs_active as r on r.run_id = b.run_id
    where r.status = 'running'
      and r.lease_id = b.lease_id
    for no key update of r skip locked
  ) as l;

  update tide.runs_active as r
  set
    leased_until = v_now + v_lease,
    lease = v_lease
  where r.run_id = any (v_held);
  if v_overdue is not null then
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
  end if;

  return query
  select
    b.run_id,
    case
      when b.run_id = any (v_held) and r.lease_id = b.lease_id then 'held'
      when r.status = 'cancelled' then 'cancelled'
      when r.status in ('completed', 'failed') then 'finished'
      when r.status = 'running' and r.lease_id = b.lease_id then 'busy'
      else 'lost'
    end
  from unnest(heartbeat.run_ids, heartbeat.lease_ids) as b(run_id, lease_id)
  left join tide.runs as r on r.run_id = b.run_id;
end;
$$;

comment on function tide.heartbeat is
  'Renew the leases of all runs of a worker: held, busy (yours, but your own transaction locks the '
  'row), lost, cancelled or finished. Never waits, never revives a lost lease.';

-- functions/runs/list_runs.sql
create or replace function tide.list_runs(
  status text default null,
  queue text default null,
  workflow text default null,
  metadata jsonb default null,
  before uuid default null,
  max_runs integer default 100
)
returns setof tide.runs
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit constant integer := tide._valid_integer('max_runs', list_runs.max_runs, 1, 1000);
  v_run tide.runs;
begin
  if list_runs.status not in (
    'pending', 'queued', 'running', 'completed', 'failed', 'cancelled'
  ) then
    raise exception 'status is not known: %', quote_literal(left(list_runs.status, 200))
      using errcode = '22023',
            hint = 'Give pending, queued, running, completed, failed or cancelled.';
  end if;
  for v_run in
    select r.*
    from tide.runs as r
    where (list_runs.status is null or r.status = list_runs.status)
      and (list_runs.queue is null or r.queue = list_runs.queue)
      and (list_runs.workflow is null or r.workflow = list_runs.workflow)
      and (list_runs.metadata is null or r.metadata @> list_runs.metadata)
      and (list_runs.before is null or r.run_id < list_runs.before)
    order by r.run_id desc
    limit v_limit
  loop
    v_run.lease_id := null;
    return next v_run;
  end loop;
end;
$$;

comment on function tide.list_runs is
  'Runs, newest first; before = the last run_id of the page before.';

-- functions/runs/release.sql
create or replace function tide.release(
  run_id uuid,
  lease_id uuid,
  delay interval default '0'
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_delay constant interval := tide._valid_interval('delay', release.delay, '0', '365 days');
  v_run constant tide.runs := tide._hold(release.run_id, release.lease_id, 'released');
begin
  if v_run.status = 'running' then
    perform tide._release(v_run, v_delay);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.release is
  'Hand a leased run back unfinished, as a worker does when it shuts down; the attempt is not counted.';

-- functions/runs/reschedule.sql
create or replace function tide.reschedule(
  run_id uuid,
  run_at timestamptz,
  priority integer default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run_at constant timestamptz := tide._valid_time('run_at', reschedule.run_at);
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = reschedule.run_id
    for no key update;
    exit when found;
    v_run := tide._find_run(reschedule.run_id);
    exit when v_run.finished_at is not null;
  end loop;
  if v_run.status <> 'queued' or v_run.waiting_on is not null then
    raise exception 'run % is % and cannot be rescheduled', v_run.run_id,
        case when v_run.waiting_on is null then v_run.status else 'parked' end
      using errcode = 'TD030',
            hint = 'Only queued runs that wait for their time or turn can be moved.';
  end if;
  update tide.runs_active as r
  set
    run_at = v_run_at,
    ready = v_run_at <= tide._now(),
    priority = coalesce(tide._valid_priority(reschedule.priority), r.priority)
  where r.run_id = v_run.run_id
  returning r.* into v_run;
  if v_run.ready then
    perform tide._lower_floor(v_run.queue, v_run.priority, v_run.run_at);
  end if;
  v_run.lease_id := null;
  return v_run;
end;
$$;

comment on function tide.reschedule is
  'Move a queued run to another time and, if given, another priority; any other run: TD030.';

-- functions/runs/retry.sql
create or replace function tide.retry(
  run_id uuid,
  actor text default null,
  reset_attempts boolean default true,
  run_at timestamptz default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_actor constant text := tide._valid_note('actor', retry.actor);
  v_now constant timestamptz := tide._now();
  v_run_at timestamptz := v_now;
  v_old tide.runs;
  v_run tide.runs;
begin
  if retry.run_at is not null then
    v_run_at := tide._valid_time('run_at', retry.run_at);
  end if;
  delete from tide.runs_finished as r
  where r.run_id = retry.run_id
    and r.status in ('failed', 'cancelled')
  returning r.* into v_old;
  if not found then
    v_run := tide._find_run(retry.run_id);
    if v_run.status = 'completed' then
      raise exception 'run % is completed and cannot be retried', v_run.run_id
        using errcode = 'TD030',
              hint = 'Enqueue a new run.';
    end if;
    return v_run;
  end if;

  insert into tide.runs_active as r (
    run_id, workflow, queue, status, dedupe_key, priority, attempt, max_attempts, last_seq, ready,
    run_at, created_at, started_at, deadline_at, worker, input, metadata, error, backoff,
    deadline, parent_id, forked_from, budget
  )
  values (
    v_old.run_id,
    v_old.workflow,
    v_old.queue,
    case when v_old.queue is null then 'pending' else 'queued' end,
    v_old.dedupe_key,
    v_old.priority,
    case when coalesce(retry.reset_attempts, true) then 0 else v_old.attempt end,
    case
      when coalesce(retry.reset_attempts, true) then v_old.max_attempts
      else least(100, greatest(v_old.max_attempts, v_old.attempt + 1))
    end,
    v_old.last_seq + 1,
    v_old.queue is not null and v_run_at <= v_now,
    v_run_at,
    v_old.created_at,
    v_old.started_at,
    -- The run gets the time it had at first, counted from now.
    v_now + v_old.deadline,
    v_old.worker,
    v_old.input,
    v_old.metadata,
    v_old.error,
    v_old.backoff,
    v_old.deadline,
    v_old.parent_id,
    v_old.forked_from,
    v_old.budget
  )
  on conflict do nothing
  returning r.* into v_run;
  if not found then
    raise exception 'run % cannot be retried: another active run of queue % has its dedupe key %',
        v_old.run_id, v_old.queue, quote_literal(v_old.dedupe_key)
      using errcode = 'TD023',
            hint = 'Wait for that run to end, or cancel it.';
  end if;
  perform tide._undo_ending(v_run);
  if v_run.ready then
    perform tide._lower_floor(v_run.queue, v_run.priority, v_run.run_at);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    'run.retried',
    array[jsonb_build_object('actor', v_actor, 'from', v_old.status, 'run_at', v_run_at)]
  );
  return v_run;
end;
$$;

comment on function tide.retry is
  'Let a failed or cancelled run go on from its checkpoints; an active run is returned as it is. '
  'Completed: TD030; dedupe key taken meanwhile: TD023.';

-- functions/state/_merge_patch.sql
create or replace function tide._merge_patch(target jsonb, patch jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  if jsonb_typeof(patch) is distinct from 'object' then
    return patch;
  end if;
  -- In one pass: key by key, each of which copies the document, a large patch takes minutes.
  return (
    select coalesce(
      jsonb_object_agg(
        coalesce(t.key, p.key),
        case when p.key is null then t.value else tide._merge_patch(t.value, p.value) end
      ) filter (where p.value is distinct from 'null'),
      '{}'
    )
    from jsonb_each(
      case
        when jsonb_typeof(_merge_patch.target) = 'object' then _merge_patch.target
        else '{}'
      end
    ) as t(key, value)
    full join jsonb_each(_merge_patch.patch) as p(key, value) on p.key = t.key
  );
end;
$$;

comment on function tide._merge_patch is 'JSON Merge Patch, RFC 7396.';

-- functions/state/_valid_importance.sql
create or replace function tide._valid_importance(importance text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if importance in ('transient', 'normal', 'checkpoint', 'milestone') then
    return importance;
  end if;
  raise exception 'importance is not known: %',
      coalesce(quote_literal(left(importance, 200)), 'null')
    using errcode = '22023',
          hint = 'Give transient, normal, checkpoint or milestone.';
end;
$$;

comment on function tide._valid_importance is 'The importance of a state version, or 22023.';

-- functions/state/_version_options.sql
create or replace function tide._version_options(
  label text,
  reason text,
  importance text,
  metadata jsonb,
  created_by text
)
returns tide.state_versions
language plpgsql
stable
as $$
declare
  v_version tide.state_versions;
begin
  v_version.label := tide._optional_text('label', _version_options.label, 256);
  v_version.reason := tide._valid_note('reason', _version_options.reason);
  v_version.importance := tide._valid_importance(_version_options.importance);
  v_version.metadata := coalesce(
    tide._valid_payload('metadata', _version_options.metadata), '{}'
  );
  v_version.created_by := tide._optional_text('created_by', _version_options.created_by, 256);
  return v_version;
end;
$$;

comment on function tide._version_options is 'What is said about a state version, or 22023.';

-- functions/state/_write_state.sql
create or replace function tide._write_state(
  run tide.runs,
  stream text,
  value jsonb,
  expected_version integer,
  version tide.state_versions,
  event text
)
returns tide.state_versions
language plpgsql
volatile
as $$
declare
  v_version tide.state_versions := _write_state.version;
  v_now constant timestamptz := tide._now();
  v_current integer;
begin
  -- The run row is locked: nobody else writes a stream of this run.
  select s.version
  into v_current
  from tide.state_streams as s
  where s.run_id = run.run_id
    and s.stream = _write_state.stream;
  if expected_version is distinct from coalesce(v_current, 0) and expected_version is not null then
    raise exception 'stream % of run % is at version %, not %',
        quote_literal(_write_state.stream), run.run_id, coalesce(v_current, 0), expected_version
      using errcode = 'TD021',
            hint = 'Read the current value and decide again.';
  end if;
  insert into tide.state_streams as s (run_id, stream, version, value, updated_at)
  values (run.run_id, _write_state.stream, 1, _write_state.value, v_now)
  on conflict on constraint state_streams_pkey do update
  set
    version = s.version + 1,
    value = excluded.value,
    updated_at = excluded.updated_at
  returning s.version into v_current;
  v_version.run_id := run.run_id;
  v_version.stream := _write_state.stream;
  v_version.version := v_current;
  v_version.value := _write_state.value;
  v_version.created_at := v_now;
  insert into tide.state_versions (
    run_id, stream, version, value, label, reason, importance, metadata, created_by, created_at
  )
  values (
    v_version.run_id,
    v_version.stream,
    v_version.version,
    v_version.value,
    v_version.label,
    v_version.reason,
    v_version.importance,
    v_version.metadata,
    v_version.created_by,
    v_version.created_at
  );
  perform tide._log(
    run.run_id,
    event,
    jsonb_build_object(
      'stream', v_version.stream,
      'version', v_version.version,
      'label', v_version.label,
      'importance', v_version.importance
    )
  );
  return v_version;
end;
$$;

comment on function tide._write_state is
  'Write the next version of a stream of a locked run and log it; another version than expected: TD021.';

-- functions/state/create_snapshot.sql
create or replace function tide.create_snapshot(
  run_id uuid,
  label text,
  state jsonb,
  target jsonb default null,
  reason text default null,
  metadata jsonb default '{}',
  created_by text default null,
  lease_id uuid default null
)
returns tide.state_versions
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_options constant tide.state_versions := tide._version_options(
    tide._valid_text('label', create_snapshot.label, 256),
    create_snapshot.reason,
    'milestone',
    create_snapshot.metadata,
    create_snapshot.created_by
  );
  v_state constant jsonb := coalesce(
    tide._valid_payload('state', create_snapshot.state), 'null'
  );
  v_stream text := 'run:' || create_snapshot.run_id::text;
  v_run constant tide.runs := tide._lock_for(
    create_snapshot.run_id, create_snapshot.lease_id
  );
begin
  if create_snapshot.target is not null then
    perform tide._known_keys('target', create_snapshot.target, '{type,id}');
    v_stream := tide._valid_text(
      'target.type',
      tide._option_text('target.type', create_snapshot.target -> 'type', 100),
      100
    ) || ':' || tide._valid_text(
      'target.id',
      tide._option_text('target.id', create_snapshot.target -> 'id', 150),
      150
    );
  end if;
  return tide._write_state(v_run, v_stream, v_state, null, v_options, 'snapshot.created');
end;
$$;

comment on function tide.create_snapshot is
  'Keep a labelled picture of something, {"type", "id"}, the run itself by default, in a stream of '
  'its own beside the state of the run.';

-- functions/state/get_state.sql
create or replace function tide.get_state(run_id uuid, stream text default 'run')
returns tide.state_streams
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_state tide.state_streams;
begin
  perform tide._find_run(get_state.run_id);
  select s.*
  into v_state
  from tide.state_streams as s
  where s.run_id = get_state.run_id
    and s.stream = get_state.stream;
  return v_state;
end;
$$;

comment on function tide.get_state is
  'The current value and version of a state stream; nulls while nothing was written.';

-- functions/state/list_snapshots.sql
create or replace function tide.list_snapshots(run_id uuid)
returns setof tide.state_versions
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._find_run(list_snapshots.run_id);
  return query
  select v.*
  from tide.state_versions as v
  where v.run_id = list_snapshots.run_id
    and v.label is not null
  order by
    v.created_at desc,
    v.stream,
    v.version desc;
end;
$$;

comment on function tide.list_snapshots is 'Labelled versions of all streams of a run, newest first.';

-- functions/state/patch_state.sql
create or replace function tide.patch_state(
  run_id uuid,
  patch jsonb,
  stream text default 'run',
  label text default null,
  reason text default null,
  importance text default 'normal',
  metadata jsonb default '{}',
  created_by text default null,
  expected_version integer default null,
  lease_id uuid default null
)
returns tide.state_versions
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_stream constant text := tide._valid_text('stream', patch_state.stream, 256);
  v_options constant tide.state_versions := tide._version_options(
    patch_state.label,
    patch_state.reason,
    patch_state.importance,
    patch_state.metadata,
    patch_state.created_by
  );
  v_patch constant jsonb := tide._valid_payload('patch', patch_state.patch);
  v_run constant tide.runs := tide._lock_for(patch_state.run_id, patch_state.lease_id);
  v_value jsonb;
begin
  select s.value
  into v_value
  from tide.state_streams as s
  where s.run_id = v_run.run_id
    and s.stream = v_stream;
  if jsonb_typeof(v_patch) is distinct from 'object'
    or jsonb_typeof(coalesce(v_value, '{}')) <> 'object'
  then
    raise exception 'patch and state must be objects, not % and %',
        coalesce(jsonb_typeof(v_patch), 'null'),
        jsonb_typeof(coalesce(v_value, '{}'))
      using errcode = '22023',
            hint = 'Use set_state to replace a value of another type.';
  end if;
  return tide._write_state(
    v_run,
    v_stream,
    tide._valid_payload('value', tide._merge_patch(v_value, v_patch)),
    patch_state.expected_version,
    v_options,
    'state.updated'
  );
end;
$$;

comment on function tide.patch_state is
  'Merge an object into a state stream as RFC 7396 says: recursively, null deletes. Objects only; '
  'another version than expected: TD021. lease_id fences a worker.';

-- functions/state/save_state.sql
create or replace function tide.save_state(
  run_id uuid,
  label text,
  stream text default 'run',
  reason text default null,
  importance text default 'milestone',
  metadata jsonb default '{}',
  created_by text default null,
  lease_id uuid default null
)
returns tide.state_versions
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_stream constant text := tide._valid_text('stream', save_state.stream, 256);
  v_options constant tide.state_versions := tide._version_options(
    tide._valid_text('label', save_state.label, 256),
    save_state.reason,
    save_state.importance,
    save_state.metadata,
    save_state.created_by
  );
  v_run constant tide.runs := tide._lock_for(save_state.run_id, save_state.lease_id);
  v_value jsonb;
begin
  select s.value
  into v_value
  from tide.state_streams as s
  where s.run_id = v_run.run_id
    and s.stream = v_stream;
  if not found then
    raise exception 'run % has no state stream %', v_run.run_id, quote_literal(v_stream)
      using errcode = 'TD010',
            hint = 'Write it with set_state first.';
  end if;
  return tide._write_state(v_run, v_stream, v_value, null, v_options, 'state.saved');
end;
$$;

comment on function tide.save_state is
  'Label the current value of a state stream: the same value as a new version. No such stream: TD010.';

-- functions/state/set_state.sql
create or replace function tide.set_state(
  run_id uuid,
  value jsonb,
  stream text default 'run',
  label text default null,
  reason text default null,
  importance text default 'normal',
  metadata jsonb default '{}',
  created_by text default null,
  expected_version integer default null,
  lease_id uuid default null
)
returns tide.state_versions
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_stream constant text := tide._valid_text('stream', set_state.stream, 256);
  v_options constant tide.state_versions := tide._version_options(
    set_state.label,
    set_state.reason,
    set_state.importance,
    set_state.metadata,
    set_state.created_by
  );
  v_value constant jsonb := coalesce(tide._valid_payload('value', set_state.value), 'null');
  v_run constant tide.runs := tide._lock_for(set_state.run_id, set_state.lease_id);
begin
  return tide._write_state(
    v_run, v_stream, v_value, set_state.expected_version, v_options, 'state.updated'
  );
end;
$$;

comment on function tide.set_state is
  'Replace the value of a state stream of an active run; every write is a version. expected_version 0 = '
  'not written yet; another: TD021. lease_id fences a worker.';

-- functions/state/state_versions.sql
create or replace function tide.state_versions(
  run_id uuid,
  stream text default null,
  labeled boolean default null
)
returns setof tide.state_versions
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._find_run(state_versions.run_id);
  return query
  select v.*
  from tide.state_versions as v
  where v.run_id = state_versions.run_id
    and (state_versions.stream is null or v.stream = state_versions.stream)
    and (
      state_versions.labeled is null
      or state_versions.labeled = (v.label is not null)
    )
  order by
    v.stream,
    v.version;
end;
$$;

comment on function tide.state_versions is
  'The versions of one state stream or all, oldest first; labeled true = only those with a label.';

-- functions/steps/_fail_hard.sql
create or replace function tide._fail_hard(run tide.runs, step tide.steps)
returns void
language plpgsql
volatile
as $$
begin
  update tide.steps as s
  set
    status = 'failed',
    finished_at = coalesce(s.finished_at, tide._now())
  where s.run_id = step.run_id
    and s.name = step.name;
  perform tide._finish(
    array[run.run_id],
    'failed',
    errors => array[
      jsonb_build_object(
        'message', format('step %L may not be tried again', step.name),
        'step', step.name,
        'error', step.error
      )
    ],
    failure_classes => array['fail_hard']
  );
end;
$$;

comment on function tide._fail_hard is
  'Fail a run whose step ended in doubt and must never be executed again.';

-- functions/steps/_held_step.sql
create or replace function tide._held_step(run tide.runs, name text)
returns tide.steps
language plpgsql
stable
as $$
declare
  v_step tide.steps;
begin
  select s.*
  into v_step
  from tide.steps as s
  where s.run_id = run.run_id
    and s.name = _held_step.name;
  if not found then
    raise exception 'run % has no step %', run.run_id,
        coalesce(quote_literal(left(_held_step.name, 200)), 'null')
      using errcode = 'TD010',
            hint = 'Begin a step before reporting on it.';
  elsif v_step.lease_id is distinct from run.lease_id then
    raise exception 'step % of run % is % and was not begun in this attempt',
        quote_literal(v_step.name), run.run_id, v_step.status
      using errcode = 'TD030',
            hint = 'Begin the step again before reporting on it.';
  end if;
  return v_step;
end;
$$;

comment on function tide._held_step is
  'A step begun under the lease of the run; not begun at all: TD010, by another attempt: TD030.';

-- functions/steps/_input_hash.sql
create or replace function tide._input_hash(input jsonb)
returns bytea
language plpgsql
immutable
parallel safe
as $$
declare
  v_text text := coalesce(input, 'null')::text;
begin
  -- jsonb has one order of keys and one form of everything but the zeros after a decimal point.
  if v_text ~ '\.[0-9]*0(?![0-9])' then
    v_text := tide._without_scale(input)::text;
  end if;
  return sha256(convert_to(v_text, 'UTF8'));
end;
$$;

comment on function tide._input_hash is
  'sha256 of the canonical form of a value: neither the order of keys nor 1 or 1.0 matters.';

-- functions/steps/_parse_contract.sql
create or replace function tide._parse_contract(contract jsonb)
returns tide.steps
language plpgsql
stable
as $$
declare
  v_step tide.steps;
begin
  v_step.side_effects := '{}';
  if contract is null or contract = '{}' then
    v_step.replay := 'auto';
    return v_step;
  end if;
  perform tide._known_keys(
    'contract',
    contract,
    array[
      'side_effects', 'idempotency_key', 'replay', 'checkpoint_invariant', 'verified_by', 'timeout'
    ]
  );
  if coalesce(contract -> 'side_effects', 'null') <> 'null' then
    if jsonb_typeof(contract -> 'side_effects') <> 'array'
      or jsonb_array_length(contract -> 'side_effects') > 100
      or jsonb_path_exists(contract, 'strict $.side_effects[*] ? (@.type() != "string")')
    then
      raise exception 'contract.side_effects is not a list of at most 100 names: %',
          left((contract -> 'side_effects')::text, 200)
        using errcode = '22023',
              hint = 'Give a list such as ["email.send"].';
    end if;
    v_step.side_effects := array(
      select tide._option_text('contract.side_effects', e.element, 256)
      from jsonb_array_elements(_parse_contract.contract -> 'side_effects') with ordinality
        as e(element, ordinality)
      order by e.ordinality
    );
  end if;
  v_step.idempotency_key := tide._option_text(
    'contract.idempotency_key', contract -> 'idempotency_key', 512
  );
  v_step.checkpoint_invariant := tide._option_text(
    'contract.checkpoint_invariant', contract -> 'checkpoint_invariant', 4096
  );
  v_step.verified_by := tide._option_text(
    'contract.verified_by', contract -> 'verified_by', 4096
  );
  v_step.timeout := tide._option_interval('contract.timeout', contract -> 'timeout');
  if v_step.timeout is not null then
    perform tide._valid_interval(
      'contract.timeout', v_step.timeout, '1 millisecond', '365 days'
    );
  end if;
  v_step.replay := contract ->> 'replay';
  if v_step.replay not in ('auto', 'manual', 'never') then
    raise exception 'contract.replay is not known: %', left((contract -> 'replay')::text, 200)
      using errcode = '22023',
            hint = 'Give auto, manual or never.';
  end if;
  v_step.replay := coalesce(
    v_step.replay,
    case
      when array['read'] @> v_step.side_effects then 'auto'
      when v_step.idempotency_key is not null then 'auto'
      else 'manual'
    end
  );
  return v_step;
end;
$$;

comment on function tide._parse_contract is
  'The contract columns of a step; replay, unless given, is auto without side effects other than '
  'read or with an idempotency key, else manual. 22023 names what is wrong.';

-- functions/steps/_replay_action.sql
create or replace function tide._replay_action(step tide.steps, lease_id uuid)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return case
    when step.status = 'completed' then 'replay'
    when step.status = 'running' and step.lease_id = _replay_action.lease_id then 'again'
    when step.status = 'failed_retryable' then 'execute'
    when step.status = 'manual_review' then 'review'
    when step.replay = 'auto' then 'execute'
    when step.replay = 'manual' then 'review'
    else 'fail'
  end;
end;
$$;

comment on function tide._replay_action is
  'What beginning an existing step means: replay, again, execute, review or fail.';

-- functions/steps/_review_step.sql
create or replace function tide._review_step(run tide.runs, step tide.steps)
returns void
language plpgsql
volatile
as $$
begin
  update tide.steps as s
  set
    status = 'manual_review',
    finished_at = coalesce(s.finished_at, tide._now())
  where s.run_id = step.run_id
    and s.name = step.name;
  perform tide._log(
    run.run_id,
    'step.review',
    jsonb_build_object(
      'name', step.name,
      'attempt', step.attempt,
      'side_effects', to_jsonb(step.side_effects)
    )
  );
  perform tide._park(run, 'review', step.name);
end;
$$;

comment on function tide._review_step is
  'Park a run until an operator resolves a step whose effect may have happened.';

-- functions/steps/_without_scale.sql
create or replace function tide._without_scale(value jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  case jsonb_typeof(value)
    when 'number' then
      return to_jsonb(trim_scale(value::numeric));
    when 'object' then
      return (
        select coalesce(jsonb_object_agg(o.key, tide._without_scale(o.value)), '{}')
        from jsonb_each(_without_scale.value) as o(key, value)
      );
    when 'array' then
      return (
        select coalesce(
          jsonb_agg(tide._without_scale(e.element) order by e.ordinality),
          '[]'
        )
        from jsonb_array_elements(_without_scale.value) with ordinality as e(element, ordinality)
      );
    else
      return value;
  end case;
end;
$$;

comment on function tide._without_scale is 'The value with 1.0 as 1 and 1.50 as 1.5 throughout.';

-- functions/steps/begin_step.sql
-- A step that runs under another lease than ours was begun by a worker that is gone: whether its
-- effect happened is unknown, and the contract decides. Under our own lease the caller is only
-- asking again.
create or replace function tide.begin_step(
  run_id uuid,
  lease_id uuid,
  name text,
  input jsonb default null,
  contract jsonb default '{}'
)
returns table (action text, output jsonb, attempt integer, replay text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', begin_step.name, 256);
  v_hash constant bytea := tide._input_hash(tide._valid_payload('input', begin_step.input));
  v_contract constant tide.steps := tide._parse_contract(begin_step.contract);
  v_run constant tide.runs := tide._hold(begin_step.run_id, begin_step.lease_id);
  v_now constant timestamptz := tide._now();
  v_step tide.steps;
begin
  perform tide._refuse_overdue(v_run);
  select s.*
  into v_step
  from tide.steps as s
  where s.run_id = v_run.run_id
    and s.name = v_name;
  if not found then
    if tide._park_over_budget(v_run) then
      return query select 'budget', null::jsonb, 0, v_contract.replay;
      return;
    end if;
    insert into tide.steps as s (
      run_id, name, status, replay, side_effects, idempotency_key, checkpoint_invariant,
      verified_by, timeout, input_hash, lease_id, started_at, position
    )
    values (
      v_run.run_id,
      v_name,
      'running',
      v_contract.replay,
      v_contract.side_effects,
      v_contract.idempotency_key,
      v_contract.checkpoint_invariant,
      v_contract.verified_by,
      v_contract.timeout,
      v_hash,
      v_run.lease_id,
      v_now,
      v_run.last_seq + 1
    );
    perform tide._log(
      v_run.run_id, 'step.started', jsonb_build_object('name', v_name, 'attempt', 1)
    );
    return query select 'execute', null::jsonb, 1, v_contract.replay;
    return;
  end if;

  if v_step.input_hash <> v_hash then
    raise exception 'step % of run % was begun with another input',
        quote_literal(v_name), v_run.run_id
      using errcode = 'TD020',
            detail = format(
              'Its input hash is %s, this one is %s.',
              encode(v_step.input_hash, 'hex'),
              encode(v_hash, 'hex')
            ),
            hint = 'Give a step that does something else another name.';
  end if;

  case tide._replay_action(v_step, v_run.lease_id)
    when 'replay' then
      return query select 'replay', v_step.output, v_step.attempt, v_step.replay;
    when 'again' then
      return query select 'execute', null::jsonb, v_step.attempt, v_step.replay;
    when 'execute' then
      if tide._park_over_budget(v_run) then
        return query select 'budget', null::jsonb, v_step.attempt, v_step.replay;
        return;
      end if;
      update tide.steps as s
      set
        status = 'running',
        attempt = s.attempt + 1,
        lease_id = v_run.lease_id,
        started_at = v_now,
        finished_at = null,
        error = null
      where s.run_id = v_run.run_id
        and s.name = v_name
      returning s.* into v_step;
      perform tide._log(
        v_run.run_id,
        'step.started',
        jsonb_build_object('name', v_name, 'attempt', v_step.attempt)
      );
      return query select 'execute', null::jsonb, v_step.attempt, v_step.replay;
    when 'review' then
      perform tide._review_step(v_run, v_step);
      return query select 'review', null::jsonb, v_step.attempt, v_step.replay;
    else
      perform tide._fail_hard(v_run, v_step);
      return query select 'failed', null::jsonb, v_step.attempt, v_step.replay;
  end case;
end;
$$;

comment on function tide.begin_step is
  'Ask for a step of a leased run: replay (its stored output), execute, review or budget (the run is '
  'parked until an operator decides), failed (its contract forbids another try, the run has failed).';

-- functions/steps/complete_step.sql
create or replace function tide.complete_step(
  run_id uuid,
  lease_id uuid,
  name text,
  output jsonb default null
)
returns tide.steps
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_output constant jsonb := tide._valid_payload('output', complete_step.output);
  v_run constant tide.runs := tide._hold(complete_step.run_id, complete_step.lease_id);
  v_step tide.steps := tide._held_step(v_run, complete_step.name);
begin
  if v_step.status = 'running' then
    update tide.steps as s
    set
      status = 'completed',
      output = v_output,
      error = null,
      finished_at = tide._now()
    where s.run_id = v_step.run_id
      and s.name = v_step.name
    returning s.* into v_step;
    perform tide._log(
      v_run.run_id,
      'step.completed',
      jsonb_build_object('name', v_step.name, 'attempt', v_step.attempt)
    );
  elsif v_step.status <> 'completed' then
    raise exception 'step % of run % is % and cannot be completed',
        quote_literal(v_step.name), v_run.run_id, v_step.status
      using errcode = 'TD030',
            hint = 'Begin the step again before reporting on it.';
  end if;
  v_step.lease_id := null;
  return v_step;
end;
$$;

comment on function tide.complete_step is
  'Store the output of a step: from now on it replays. Renews the lease; the same call again gives '
  'the same answer.';

-- functions/steps/fail_step.sql
create or replace function tide.fail_step(
  run_id uuid,
  lease_id uuid,
  name text,
  error jsonb default '{}',
  retryable boolean default false
)
returns table (status text, decision text, run_status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_error constant jsonb := coalesce(tide._valid_payload('error', fail_step.error), '{}');
  v_run constant tide.runs := tide._hold(fail_step.run_id, fail_step.lease_id);
  v_step tide.steps := tide._held_step(v_run, fail_step.name);
  v_decision text;
begin
  if v_step.status = 'completed' then
    raise exception 'step % of run % is completed and cannot fail',
        quote_literal(v_step.name), v_run.run_id
      using errcode = 'TD030',
            hint = 'A completed step replays its output.';
  end if;
  v_decision := case
    when v_step.status = 'failed_retryable' then 'auto_retry'
    when v_step.status = 'running' and coalesce(fail_step.retryable, false) then 'auto_retry'
    when v_step.replay = 'auto' then 'safe_replay'
    when v_step.replay = 'manual' then 'manual_review'
    else 'fail_hard'
  end;
  if v_step.status = 'running' then
    update tide.steps as s
    set
      status = case
        when v_decision = 'auto_retry' then 'failed_retryable'
        when v_decision = 'manual_review' then 'manual_review'
        else 'failed'
      end,
      error = v_error,
      finished_at = tide._now()
    where s.run_id = v_step.run_id
      and s.name = v_step.name
    returning s.* into v_step;
    perform tide._log(
      v_run.run_id,
      'step.failed',
      jsonb_build_object(
        'name', v_step.name,
        'attempt', v_step.attempt,
        'decision', v_decision,
        'error', v_error
      )
    );
    if v_decision = 'manual_review' then
      perform tide._review_step(v_run, v_step);
    elsif v_decision = 'fail_hard' then
      perform tide._fail_hard(v_run, v_step);
    end if;
  end if;
  return query
  select
    v_step.status,
    v_decision,
    r.status
  from tide.runs as r
  where r.run_id = v_run.run_id;
end;
$$;

comment on function tide.fail_step is
  'Report that a step failed. Its contract decides: auto_retry (retryable), safe_replay, '
  'manual_review (the run is parked) or fail_hard (the run has failed).';

-- functions/steps/resolve_step.sql
create or replace function tide.resolve_step(
  run_id uuid,
  name text,
  decision text,
  output jsonb default null,
  actor text default null
)
returns tide.steps
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_output constant jsonb := tide._valid_payload('output', resolve_step.output);
  v_actor constant text := tide._valid_note('actor', resolve_step.actor);
  v_run tide.runs;
  v_step tide.steps;
begin
  if resolve_step.decision is null
    or resolve_step.decision not in ('retry', 'use_output', 'fail')
  then
    raise exception 'decision is not known: %',
        coalesce(quote_literal(left(resolve_step.decision, 200)), 'null')
      using errcode = '22023',
            hint = 'Give retry, use_output or fail.';
  end if;
  v_run := tide._lock_active(resolve_step.run_id);
  select s.*
  into v_step
  from tide.steps as s
  where s.run_id = v_run.run_id
    and s.name = resolve_step.name;
  if not found then
    raise exception 'run % has no step %', v_run.run_id,
        coalesce(quote_literal(left(resolve_step.name, 200)), 'null')
      using errcode = 'TD010',
            hint = 'See describe_run for its steps.';
  elsif v_step.status <> 'manual_review' then
    raise exception 'step % of run % is % and awaits no decision',
        quote_literal(v_step.name), v_run.run_id, v_step.status
      using errcode = 'TD030',
            hint = 'Only steps in manual_review can be resolved.';
  end if;

  update tide.steps as s
  set
    status = case resolve_step.decision
      when 'retry' then 'failed_retryable'
      when 'use_output' then 'completed'
      else 'failed'
    end,
    output = case when resolve_step.decision = 'use_output' then v_output end,
    decided_by = v_actor
  where s.run_id = v_step.run_id
    and s.name = v_step.name
  returning s.* into v_step;
  if resolve_step.decision = 'fail' then
    perform tide._finish(
      array[v_run.run_id],
      'failed',
      errors => array[
        jsonb_build_object(
          'message', format('step %L failed in review', v_step.name),
          'step', v_step.name,
          'error', v_step.error
        )
      ],
      failure_classes => array['review_rejected']
    );
  else
    perform tide._resume(
      v_run,
      jsonb_build_object(
        'waited_on', 'review',
        'step', v_step.name,
        'decision', resolve_step.decision,
        'actor', v_actor
      )
    );
  end if;
  v_step.lease_id := null;
  return v_step;
end;
$$;

comment on function tide.resolve_step is
  'Decide about a step in manual_review: retry it, use_output as if it had completed, or fail the '
  'run. The parked run goes on in the same transaction.';

-- functions/upkeep/_advance_settled_clock.sql
create or replace function tide._advance_settled_clock()
returns integer
language plpgsql
volatile
as $$
begin
  perform
  from tide.ticks as t
  where t.pending_xid is null
    or pg_snapshot_xmin(pg_current_snapshot()) >= t.pending_xid
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set
      settled_at = coalesce(t.pending_at, t.settled_at),
      -- The clock is read before an enqueue gets its transaction id; a second covers the gap.
      pending_at = tide._now() - interval '1 second',
      pending_xid = pg_snapshot_xmax(pg_current_snapshot());
  end if;
  return 0;
end;
$$;

comment on function tide._advance_settled_clock is
  'Move ticks.settled_at on, once every transaction that was open at the last look has ended.';

-- functions/upkeep/_count_finished.sql
create or replace function tide._count_finished()
returns integer
language plpgsql
volatile
as $$
declare
  v_from timestamptz;
  v_until timestamptz;
  v_settled timestamptz;
  v_next timestamptz;
  v_first timestamptz;
  v_queue text := '';
begin
  select
    t.counted_until,
    -- At most ten minutes a batch; only minutes in which nobody can still commit a finish.
    least(date_trunc('minute', t.settled_at), t.counted_until + interval '10 minutes'),
    date_trunc('minute', t.settled_at)
  into v_from, v_until, v_settled
  from tide.ticks as t
  for no key update skip locked;
  if not found or v_until <= v_from then
    return 0;
  end if;
  loop
    select f.queue
    into v_queue
    from tide.runs_finished as f
    where f.queue > v_queue
    order by f.queue
    limit 1;
    exit when not found;
    insert into tide.queue_minutes as m (queue, minute, completed, failed, cancelled)
    select
      v_queue,
      date_trunc('minute', f.finished_at),
      count(*) filter (where f.status = 'completed'),
      count(*) filter (where f.status = 'failed'),
      count(*) filter (where f.status = 'cancelled')
    from tide.runs_finished as f
    where f.queue = v_queue
      and f.finished_at >= v_from
      and f.finished_at < v_until
    group by date_trunc('minute', f.finished_at)
    on conflict on constraint queue_minutes_pkey do nothing;
    select f.finished_at
    into v_first
    from tide.runs_finished as f
    where f.queue = v_queue
      and f.finished_at >= v_until
    order by f.finished_at
    limit 1;
    v_next := least(v_next, v_first);
  end loop;
  -- Straight on to the next minute in which anything ended.
  update tide.ticks as t
  set counted_until = greatest(
    v_until, least(v_settled, date_trunc('minute', coalesce(v_next, v_settled)))
  );
  return 1;
end;
$$;

comment on function tide._count_finished is
  'Count what ended in settled minutes; afterwards queue_stats reads minutes instead of runs.';

-- functions/upkeep/_forget_stale_rows.sql
create or replace function tide._forget_stale_rows()
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  delete from tide.queue_minutes as m
  where m.minute < v_now - interval '2 days';
  delete from tide.sweep_failures as f
  where f.retry_at < v_now - interval '1 day';
  delete from tide.watchers as w
  where w.run_id = any (
    array(
      select s.run_id
      from tide.watchers as s
      where s.until < v_now
      for update skip locked
    )
  );
  delete from tide.workers as w
  where w.worker = any (
    array(
      select s.worker
      from tide.workers as s
      where s.seen_at < v_now - interval '1 hour'
      for update skip locked
    )
  );
  perform
  from tide.ticks as t
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set reconciled_at = v_now;
  end if;
  return 0;
end;
$$;

comment on function tide._forget_stale_rows is
  'Remove old minutes, workers not seen for an hour, watchers that went and failures nobody met again.';

-- functions/upkeep/_is_set_aside.sql
create or replace function tide._is_set_aside(sweep text, run_id uuid, now timestamptz)
returns boolean
language plpgsql
stable
as $$
begin
  return exists (
    select
    from tide.sweep_failures as f
    where f.sweep = _is_set_aside.sweep
      and f.key = _is_set_aside.run_id::text
      and f.retry_at > _is_set_aside.now
  );
end;
$$;

comment on function tide._is_set_aside is 'Whether a sweep failed on this run a short while ago.';

-- functions/upkeep/_known_keys.sql
create or replace function tide._known_keys(argument text, value jsonb, keys text[])
returns boolean
language plpgsql
immutable
parallel safe
as $$
declare
  v_unknown text;
begin
  if jsonb_typeof(value) is distinct from 'object' then
    raise exception '% is not a JSON object: %', _known_keys.argument,
        coalesce(left(value::text, 200), 'null')
      using errcode = '22023',
            hint = format('Give an object with any of the keys %s.', array_to_string(keys, ', '));
  end if;
  select o.key
  into v_unknown
  from jsonb_object_keys(_known_keys.value) as o(key)
  where o.key <> all (_known_keys.keys)
  order by o.key
  limit 1;
  if found then
    raise exception '% has an unknown key: %', _known_keys.argument,
        quote_literal(left(v_unknown, 200))
      using errcode = '22023',
            hint = format('Known keys are %s.', array_to_string(keys, ', '));
  end if;
  return true;
end;
$$;

comment on function tide._known_keys is
  'True, or 22023: an options object holds known keys only, so that a typing error is not ignored.';

-- functions/upkeep/_now.sql
create or replace function tide._now()
returns timestamptz
language sql
volatile
as $$
select pg_catalog.clock_timestamp()
$$;

comment on function tide._now is
  'The one clock of the schema: the database''s, read when asked, not when the transaction began.';

-- functions/upkeep/_option_boolean.sql
create or replace function tide._option_boolean(argument text, value jsonb)
returns boolean
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or value = 'null' then
    return null;
  elsif value = 'true' then
    return true;
  elsif value = 'false' then
    return false;
  end if;
  raise exception '% is neither true nor false: %', _option_boolean.argument,
      left(value::text, 200)
    using errcode = '22023';
end;
$$;

comment on function tide._option_boolean is
  'A boolean out of an options object; null passes, anything else that is none is 22023.';

-- functions/upkeep/_option_integer.sql
create or replace function tide._option_integer(
  argument text,
  value jsonb,
  low bigint,
  high bigint
)
returns integer
language plpgsql
immutable
parallel safe
as $$
declare
  v_number constant numeric := tide._option_number(argument, value);
begin
  if v_number is null then
    return null;
  elsif v_number between low and high and v_number = trunc(v_number) then
    return v_number;
  end if;
  raise exception '% is out of range: %', _option_integer.argument, left(value::text, 200)
    using errcode = '22023',
          hint = format('Give a whole number from %s to %s.', low, high);
end;
$$;

comment on function tide._option_integer is
  'A whole number out of an options object; null passes, any other that does not fit is 22023.';

-- functions/upkeep/_option_interval.sql
create or replace function tide._option_interval(argument text, value jsonb)
returns interval
language plpgsql
stable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(value) = 'string'
    and value #>> '{}' ~ '^[0-9a-zA-Z :.+-]{1,100}$'
  then
    begin
      return (value #>> '{}')::interval;
    exception
      when data_exception then
        null;
    end;
  end if;
  raise exception '% is not an interval: %', _option_interval.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give it as text, for example "90 seconds".';
end;
$$;

comment on function tide._option_interval is
  'An interval out of an options object; null passes, anything else that is none is 22023.';

-- functions/upkeep/_option_number.sql
create or replace function tide._option_number(argument text, value jsonb)
returns numeric
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(value) = 'number' then
    return value::numeric;
  end if;
  raise exception '% is not a number: %', _option_number.argument, left(value::text, 200)
    using errcode = '22023';
end;
$$;

comment on function tide._option_number is
  'A number out of an options object; null passes, anything else that is none is 22023.';

-- functions/upkeep/_option_text.sql
create or replace function tide._option_text(argument text, value jsonb, max_bytes integer)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or value = 'null' then
    return null;
  elsif jsonb_typeof(value) = 'string' then
    return tide._valid_text(argument, value #>> '{}', max_bytes);
  end if;
  raise exception '% is not text: %', _option_text.argument, left(value::text, 200)
    using errcode = '22023';
end;
$$;

comment on function tide._option_text is
  'Text out of an options object; null passes, anything else that is none is 22023.';

-- functions/upkeep/_option_time.sql
create or replace function tide._option_time(argument text, value jsonb)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(value) = 'string' then
    begin
      return (value #>> '{}')::timestamptz;
    exception
      when data_exception then
        null;
    end;
  end if;
  raise exception '% is not a time: %', _option_time.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give it as text with its zone, for example "2026-06-12 10:30:00+00".';
end;
$$;

comment on function tide._option_time is
  'A time out of an options object; null passes, anything else that is none is 22023.';

-- functions/upkeep/_option_uuid.sql
create or replace function tide._option_uuid(argument text, value jsonb)
returns uuid
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if value #>> '{}' ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then
    return (value #>> '{}')::uuid;
  end if;
  raise exception '% is not a uuid: %', _option_uuid.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give it as text, for example "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b".';
end;
$$;

comment on function tide._option_uuid is
  'An id out of an options object; null passes, anything else that is none is 22023.';

-- functions/upkeep/_optional_text.sql
create or replace function tide._optional_text(argument text, value text, max_bytes integer)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null then
    return null;
  end if;
  return tide._valid_text(argument, value, max_bytes);
end;
$$;

comment on function tide._optional_text is 'The value as _valid_text judges it; null passes.';

-- functions/upkeep/_payload_problem.sql
create or replace function tide._payload_problem(value jsonb)
returns text
language plpgsql
stable
parallel safe
as $$
declare
  v_bytes constant integer := octet_length(value::text);
begin
  -- No limit is below 4096 bytes: small payloads need no look at the settings.
  if v_bytes > 4096 then
    if v_bytes > (select s.max_payload_bytes from tide.settings as s) then
      return 'payload_too_large';
    end if;
  end if;
  if jsonb_path_exists(value, 'strict $.**{101}')
    or (
      v_bytes > 400
      and jsonb_path_exists(
        value,
        'strict $.** ? (@.type() == "number" && (@ >= 1e400 || @ <= -1e400))'
      )
    )
  then
    return 'bad_payload';
  end if;
  return null;
end;
$$;

comment on function tide._payload_problem is
  'payload_too_large, bad_payload (too deep, or a number nobody can parse), or null.';

-- functions/upkeep/_require_read_committed.sql
create or replace function tide._require_read_committed(function text)
returns boolean
language plpgsql
stable
as $$
begin
  if current_setting('transaction_isolation') in ('read committed', 'read uncommitted') then
    return true;
  end if;
  raise exception 'tide.% cannot run under isolation level %', _require_read_committed.function,
      current_setting('transaction_isolation')
    using errcode = '25001',
          hint = 'Call it in a READ COMMITTED transaction: it must see what others committed '
                 'since yours began.';
end;
$$;

comment on function tide._require_read_committed is
  'True, or 25001: where a decision needs a snapshot newer than the transaction.';

-- functions/upkeep/_run_sweep.sql
create or replace function tide._run_sweep(sweep text, keys text[], batch integer)
returns integer
language plpgsql
volatile
as $$
begin
  if cardinality(keys) = 0 then
    return 0;
  end if;
  case sweep
    when 'expired_leases' then
      return tide._expire_leases(keys::uuid[]);
    when 'overdue' then
      perform tide._finish(keys::uuid[], 'cancelled', reason => 'deadline', actor => 'tide');
      return cardinality(keys);
    when 'due' then
      return tide._promote(batch);
    when 'gate_timeouts' then
      return tide._time_out_gates(batch);
    when 'due_waits' then
      return tide._end_due_waits(batch);
    when 'ended_children' then
      return tide._notice_children(batch);
    when 'cascades' then
      return tide._follow_cascades(batch);
    when 'leaked_slots' then
      return tide._free_leaked_slots(batch);
    when 'settled_clock' then
      return tide._advance_settled_clock();
    when 'claim_floors' then
      return tide._raise_floors(200);
    when 'finished_counts' then
      return tide._count_finished();
    else
      return tide._forget_stale_rows();
  end case;
end;
$$;

comment on function tide._run_sweep is 'Do one batch of a sweep and return how much was handled.';

-- functions/upkeep/_set_aside.sql
create or replace function tide._set_aside(
  sweep text,
  key text,
  error text,
  sqlstate text
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  insert into tide.sweep_failures as f (sweep, key, error, sqlstate, failed_at, retry_at)
  values (
    _set_aside.sweep,
    _set_aside.key,
    left(_set_aside.error, 1000),
    _set_aside.sqlstate,
    v_now,
    v_now + interval '1 minute'
  )
  on conflict on constraint sweep_failures_pkey do update
  set
    error = excluded.error,
    sqlstate = excluded.sqlstate,
    failures = f.failures + 1,
    failed_at = excluded.failed_at,
    -- Twice as long each time, up to about an hour.
    retry_at = v_now + interval '1 minute' * power(2, least(f.failures, 6));
end;
$$;

comment on function tide._set_aside is
  'Remember what a sweep could not handle and leave it alone for a while.';

-- functions/upkeep/_sweep.sql
-- Security definer, unlike other private functions: reconcile cannot be (it commits), and its caller
-- has no right on any table. A whole batch first; only when that fails, row by row with a
-- subtransaction each, so that one poisonous row is set aside and the others proceed.
create or replace function tide._sweep(sweep text, batch integer)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_key text;
  v_done integer := 0;
begin
  begin
    return tide._run_sweep(sweep, tide._sweep_keys(sweep, batch), batch);
  exception
    when others then
      if not tide._sweeps_rows(sweep) then
        perform tide._set_aside(sweep, '', sqlerrm, sqlstate);
        return 0;
      end if;
  end;
  foreach v_key in array tide._sweep_keys(sweep, least(batch, 50)) loop
    begin
      v_done := v_done + tide._run_sweep(sweep, array[v_key], 1);
    exception
      when others then
        perform tide._set_aside(sweep, v_key, sqlerrm, sqlstate);
        v_done := v_done + 1;
    end;
  end loop;
  return v_done;
end;
$$;

comment on function tide._sweep is
  'One bounded batch of a sweep; returns how much it handled, 0 when there is nothing left.';

-- functions/upkeep/_sweep_keys.sql
create or replace function tide._sweep_keys(sweep text, batch integer)
returns text[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  case sweep
    when 'expired_leases' then
      -- Plain runs have no queue to go back to: they wait for begin_run or their worker.
      return array(
        select r.run_id::text
        from tide.runs_active as r
        where r.status = 'running'
          and r.queue is not null
          and r.leased_until < v_now
          and not tide._is_set_aside('expired_leases', r.run_id, v_now)
        limit _sweep_keys.batch
        for no key update skip locked
      );
    when 'overdue' then
      return array(
        select r.run_id::text
        from tide.runs_active as r
        where r.deadline_at <= v_now
          and not tide._is_set_aside('overdue', r.run_id, v_now)
        order by r.deadline_at
        limit _sweep_keys.batch
        for no key update skip locked
      );
    else
      return null;
  end case;
end;
$$;

comment on function tide._sweep_keys is
  'Lock the next runs a sweep has to handle and return their ids; null for sweeps without rows.';

-- functions/upkeep/_sweeps.sql
create or replace function tide._sweeps(every_tick boolean)
returns text[]
language plpgsql
immutable
parallel safe
as $$
begin
  if every_tick then
    return array[
      'expired_leases', 'overdue', 'gate_timeouts', 'due_waits', 'ended_children', 'cascades',
      'settled_clock', 'claim_floors'
    ];
  end if;
  return array[
    'expired_leases', 'overdue', 'due', 'gate_timeouts', 'due_waits', 'ended_children',
    'cascades', 'leaked_slots', 'settled_clock', 'claim_floors', 'finished_counts', 'stale_rows'
  ];
end;
$$;

comment on function tide._sweeps is
  'The sweeps in their order: those of the small tick in claims, or all for reconcile.';

-- functions/upkeep/_sweeps_rows.sql
create or replace function tide._sweeps_rows(sweep text)
returns boolean
language plpgsql
immutable
parallel safe
as $$
begin
  return sweep in ('expired_leases', 'overdue');
end;
$$;

comment on function tide._sweeps_rows is
  'Whether a sweep handles runs one by one when their batch fails.';

-- functions/upkeep/_tick.sql
-- Subtransactions only when the tick is due: twice a second over all claimers.
create or replace function tide._tick()
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_sweep text;
begin
  if not exists (
    select
    from tide.ticks as t
    where t.next_at <= v_now
  ) then
    return;
  end if;
  perform
  from tide.ticks as t
  where t.next_at <= v_now
  for no key update skip locked;
  if not found then
    return;
  end if;
  update tide.ticks as t
  set next_at = v_now + interval '500 milliseconds';
  foreach v_sweep in array tide._sweeps(every_tick => true) loop
    perform tide._sweep(v_sweep, 10);
  end loop;
end;
$$;

comment on function tide._tick is
  'The small tick that claims carry: bounded upkeep, twice a second, by whoever comes first.';

-- functions/upkeep/_uuid7.sql
-- plpgsql on purpose: the branch for PostgreSQL 18 names a function older servers lack, and an
-- unreached statement is never planned.
create or replace function tide._uuid7()
returns uuid
language plpgsql
volatile
as $$
declare
  v_microseconds bigint;
begin
  if current_setting('server_version_num')::integer >= 180000 then
    return uuidv7();
  end if;
  v_microseconds := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  -- RFC 9562, method 3: 48 bits of milliseconds, then the fraction of a millisecond in 12 bits.
  return encode(
    overlay(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send(v_microseconds / 1000) from 3) from 1 for 6
      )
      placing substring(
        int4send(x'7000'::integer | ((v_microseconds % 1000) * 4096 / 1000)::integer) from 3
      ) from 7 for 2
    ),
    'hex'
  )::uuid;
end;
$$;

comment on function tide._uuid7 is
  'A new time-ordered id (UUIDv7), so that indexes grow at one end and ids sort by age.';

-- functions/upkeep/_valid_elements.sql
create or replace function tide._valid_elements(
  argument text,
  value jsonb,
  keys text[],
  max_elements integer
)
returns integer
language plpgsql
immutable
parallel safe
as $$
declare
  v_bad record;
begin
  if jsonb_typeof(value) is distinct from 'array'
    or jsonb_array_length(value) > max_elements
  then
    raise exception '% is not an array of at most % objects: %',
        _valid_elements.argument,
        max_elements,
        case jsonb_typeof(value)
          when 'array' then jsonb_array_length(value) || ' elements'
          else coalesce(left(value::text, 200), 'null')
        end
      using errcode = '22023';
  end if;
  select
    e.element,
    e.ordinal
  into v_bad
  from jsonb_array_elements(_valid_elements.value) with ordinality as e(element, ordinal)
  -- In this order: subtracting keys from anything but an object or array is an error of its own.
  where case
      when jsonb_typeof(e.element) = 'object' then (e.element - _valid_elements.keys) <> '{}'
      else true
    end
  order by e.ordinal
  limit 1;
  if found then
    perform tide._known_keys(format('%s[%s]', argument, v_bad.ordinal - 1), v_bad.element, keys);
  end if;
  return jsonb_array_length(value);
end;
$$;

comment on function tide._valid_elements is
  'How many objects the array has, or 22023 naming the first element that is none or has an unknown key.';

-- functions/upkeep/_valid_integer.sql
create or replace function tide._valid_integer(
  argument text,
  value bigint,
  low bigint,
  high bigint
)
returns integer
language plpgsql
immutable
parallel safe
as $$
begin
  if value between low and high then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_integer.argument,
      coalesce(_valid_integer.value::text, 'null')
    using errcode = '22023',
          hint = format('Give a whole number from %s to %s.', low, high);
end;
$$;

comment on function tide._valid_integer is 'The value, or 22023 when it is null or out of range.';

-- functions/upkeep/_valid_interval.sql
create or replace function tide._valid_interval(
  argument text,
  value interval,
  low interval,
  high interval
)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if value between low and high then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_interval.argument,
      coalesce(_valid_interval.value::text, 'null')
    using errcode = '22023',
          hint = format('Give an interval from %s to %s.', low, high);
end;
$$;

comment on function tide._valid_interval is 'The value, or 22023 when it is null or out of range.';

-- functions/upkeep/_valid_name.sql
create or replace function tide._valid_name(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value ~ '^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$' then
    return value;
  end if;
  raise exception '% is not a valid name: %', _valid_name.argument,
      coalesce(quote_literal(left(_valid_name.value, 200)), 'null')
    using errcode = '22023',
          hint = 'Use 1 to 128 letters, digits and _ . : / - of ASCII, '
                 'the first a letter, a digit or _.';
end;
$$;

comment on function tide._valid_name is
  'The value, or 22023: names of queues and workflows are short, printable and ASCII.';

-- functions/upkeep/_valid_note.sql
create or replace function tide._valid_note(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or octet_length(value) <= 4096 then
    return value;
  end if;
  raise exception '% is too long: % bytes', _valid_note.argument, octet_length(value)
    using errcode = '22023',
          hint = 'Give at most 4096 bytes.';
end;
$$;

comment on function tide._valid_note is
  'The value, or 22023: an optional remark of at most 4096 bytes.';

-- functions/upkeep/_valid_payload.sql
create or replace function tide._valid_payload(argument text, value jsonb)
returns jsonb
language plpgsql
stable
parallel safe
as $$
declare
  v_problem constant text := tide._payload_problem(value);
begin
  if v_problem is null then
    return value;
  end if;
  if v_problem = 'payload_too_large' then
    raise exception '% is too large: % bytes', _valid_payload.argument,
        octet_length(value::text)
      using errcode = 'TD040',
            detail = format(
              'The limit is %s bytes of JSON text.',
              (select s.max_payload_bytes from tide.settings as s)
            ),
            hint = 'Store it elsewhere and pass a reference, or raise '
                   'tide.settings.max_payload_bytes.';
  end if;
  raise exception '% cannot be read by every client: it is nested deeper than 100 levels '
      'or holds a number of more than 400 digits', _valid_payload.argument
    using errcode = '22023',
          hint = 'Flatten the document, or pass the number as text.';
end;
$$;

comment on function tide._valid_payload is
  'The value (null passes), or TD040 when it is too large, 22023 when clients could not parse it.';

-- functions/upkeep/_valid_text.sql
create or replace function tide._valid_text(argument text, value text, max_bytes integer)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if octet_length(value) between 1 and max_bytes and value !~ '[[:cntrl:]]' then
    return value;
  end if;
  raise exception '% is not valid: %', _valid_text.argument,
      case
        when value is null then 'null'
        when value = '' then 'it is empty'
        when octet_length(value) > max_bytes
          then format('it has %s bytes', octet_length(value))
        else format('%L holds a control character', left(value, 200))
      end
    using errcode = '22023',
          hint = format('Give 1 to %s bytes without control characters.', max_bytes);
end;
$$;

comment on function tide._valid_text is
  'The value, or 22023: text that people read is not empty, bounded and without control characters.';

-- functions/upkeep/_valid_time.sql
create or replace function tide._valid_time(argument text, value timestamptz)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if value between tide._now() - interval '10 years' and tide._now() + interval '10 years' then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_time.argument,
      coalesce(_valid_time.value::text, 'null')
    using errcode = '22023',
          hint = 'Give a time within ten years of now.';
end;
$$;

comment on function tide._valid_time is
  'The value, or 22023: a finite time within ten years, which every driver can read.';

-- functions/upkeep/reconcile.sql
-- Neither security definer nor SET: Postgres forbids COMMIT under both. It only loops and commits;
-- the work is in tide._sweep. The first COMMIT fails at once inside a transaction block, instead of
-- half-way. The lock is a transaction's: a session's would outlive an error behind a pooler.
create or replace procedure tide.reconcile(
  batch integer default 100,
  budget interval default '5 seconds',
  inout report jsonb default null
)
language plpgsql
as $$
declare
  v_sweep text;
  v_handled integer;
  v_total integer;
  v_until timestamptz;
begin
  set local search_path to pg_catalog, pg_temp;
  perform tide._valid_integer('batch', reconcile.batch, 1, 10000);
  perform tide._valid_interval('budget', reconcile.budget, '10 milliseconds', '1 hour');
  commit;
  v_until := pg_catalog.clock_timestamp() operator(pg_catalog.+) reconcile.budget;
  reconcile.report := '{}';
  foreach v_sweep in array tide._sweeps(every_tick => false) loop
    v_total := 0;
    loop
      commit;
      set transaction isolation level read committed;
      set local search_path to pg_catalog, pg_temp;
      if not pg_try_advisory_xact_lock(1953064037, 1) then
        reconcile.report := reconcile.report
          operator(pg_catalog.||) pg_catalog.jsonb_build_object(v_sweep, v_total, 'busy', true);
        rollback;
        return;
      end if;
      v_handled := tide._sweep(v_sweep, reconcile.batch);
      commit;
      v_total := v_total operator(pg_catalog.+) v_handled;
      exit when v_handled operator(pg_catalog.=) 0
        or pg_catalog.clock_timestamp() operator(pg_catalog.>) v_until;
    end loop;
    reconcile.report := reconcile.report
      operator(pg_catalog.||) pg_catalog.jsonb_build_object(v_sweep, v_total);
  end loop;
end;
$$;

comment on procedure tide.reconcile is
  'All upkeep, in bounded batches each committed on its own: expired leases, deadlines, due runs, '
  'leaked slots, counts. Call it from anywhere at any rate, in autocommit; report says what was done.';

-- functions/upkeep/version.sql
create or replace function tide.version()
returns text
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select i.version
    from tide.installs as i
    order by i.install_id desc
    limit 1
  );
end;
$$;

comment on function tide.version is 'The version of the schema installed in this database.';

-- functions/usage/_budgets.sql
create or replace function tide._budgets(run tide.runs)
returns table (run_id uuid, budget jsonb)
language plpgsql
stable
as $$
declare
  v_parent_id uuid := run.parent_id;
begin
  if run.budget is not null then
    return query select run.run_id, run.budget;
  end if;
  while v_parent_id is not null loop
    select
      r.run_id,
      r.budget,
      r.parent_id
    into run_id, budget, v_parent_id
    from tide.runs as r
    where r.run_id = v_parent_id;
    exit when not found;
    if budget is not null then
      return next;
    end if;
  end loop;
end;
$$;

comment on function tide._budgets is
  'The budgets a run is charged to: its own and those of its ancestors, nearest first.';

-- functions/usage/_charge.sql
-- Nearest first: a child is charged before its parent, in every transaction.
create or replace function tide._charge(
  run tide.runs,
  cost_usd numeric,
  tokens bigint,
  steps bigint
)
returns void
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
begin
  for v_run_id in
    select b.run_id
    from tide._budgets(_charge.run) as b
  loop
    insert into tide.spending as s (run_id, cost_usd, tokens, steps)
    values (v_run_id, _charge.cost_usd, _charge.tokens, _charge.steps)
    on conflict on constraint spending_pkey do update
    set
      cost_usd = s.cost_usd + excluded.cost_usd,
      tokens = s.tokens + excluded.tokens,
      steps = s.steps + excluded.steps;
  end loop;
end;
$$;

comment on function tide._charge is 'Add to what a run and its ancestors with a budget have spent.';

-- functions/usage/_count_spending.sql
create or replace function tide._count_spending(run_id uuid)
returns void
language plpgsql
volatile
as $$
begin
  if exists (
    select
    from tide.spending as s
    where s.run_id = _count_spending.run_id
  ) then
    return;
  end if;
  insert into tide.spending (run_id, cost_usd, tokens, steps)
  with recursive family as (
    select
      r.run_id,
      r.created_at
    from tide.runs as r
    where r.run_id = _count_spending.run_id
    union
    select
      r.run_id,
      r.created_at
    from family as f
    join tide.run_edges as e on e.parent_id = f.run_id
    -- The edges of a fork lead to children of another run.
    join tide.runs as r on r.run_id = e.child_id and r.parent_id = f.run_id
  )
  select
    _count_spending.run_id,
    coalesce(sum(t.cost_usd), 0),
    coalesce(sum(t.tokens), 0),
    coalesce(sum(t.steps), 0)
  from family as f
  cross join lateral (
    select
      (
        select sum(u.cost_usd)
        from tide.usage as u
        where u.run_id = f.run_id
      ) as cost_usd,
      (
        select sum(u.total_tokens)
        from tide.usage as u
        where u.run_id = f.run_id
      ) as tokens,
      (
        select sum(s.attempt)
        from tide.steps as s
        where s.run_id = f.run_id
          -- The steps a fork copied are older than itself.
          and s.started_at >= f.created_at
      ) as steps
  ) as t
  on conflict on constraint spending_pkey do nothing;
end;
$$;

comment on function tide._count_spending is
  'What a run and its descendants spent before it had a budget.';

-- functions/usage/_lock_family.sql
-- By run_id, as settle locks the runs of a batch, and again until nobody new is found: a descendant
-- not locked yet may spawn. Waiting is safe: no descendant ever waits for an ancestor's row.
create or replace function tide._lock_family(run_id uuid)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_family uuid[] := array[]::uuid[];
  v_found uuid[];
begin
  loop
    v_found := array(
      with recursive family as (
        select _lock_family.run_id as run_id
        union
        select e.child_id
        from family as f
        join tide.run_edges as e on e.parent_id = f.run_id
      )
      select r.run_id
      from family as f
      join tide.runs_active as r on r.run_id = f.run_id
      where r.run_id <> all (v_family)
      order by r.run_id
      for no key update of r
    );
    exit when cardinality(v_found) = 0;
    v_family := v_family || v_found;
  end loop;
  return v_family;
end;
$$;

comment on function tide._lock_family is
  'Lock a run and its descendants, as far as they are active, and return their ids.';

-- functions/usage/_lock_spending.sql
-- Nearest first, the order of _charge. Whoever holds these rows is the only one to judge and to spend:
-- of children that begin at once, one takes the last step of a common budget.
create or replace function tide._lock_spending(run tide.runs)
returns void
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
begin
  for v_run_id in
    select b.run_id
    from tide._budgets(_lock_spending.run) as b
  loop
    perform tide._count_spending(v_run_id);
    perform
    from tide.spending as s
    where s.run_id = v_run_id
    for no key update;
  end loop;
end;
$$;

comment on function tide._lock_spending is
  'Lock what a run and its ancestors with a budget have spent, counted first where it never was.';

-- functions/usage/_over_budget.sql
create or replace function tide._over_budget(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
declare
  v_run record;
  v_spent tide.spending;
begin
  for v_run in
    select
      b.run_id,
      b.budget
    from tide._budgets(_over_budget.run) as b
  loop
    select s.*
    into v_spent
    from tide.spending as s
    where s.run_id = v_run.run_id;
    if coalesce(v_spent.cost_usd, 0) >= (v_run.budget ->> 'max_cost_usd')::numeric
      or coalesce(v_spent.tokens, 0) >= (v_run.budget ->> 'max_tokens')::bigint
      or coalesce(v_spent.steps, 0) >= (v_run.budget ->> 'max_steps')::bigint
    then
      return jsonb_build_object(
        'run_id', v_run.run_id,
        'budget', v_run.budget,
        'cost_usd', coalesce(v_spent.cost_usd, 0),
        'tokens', coalesce(v_spent.tokens, 0),
        'steps', coalesce(v_spent.steps, 0)
      );
    end if;
  end loop;
  return null;
end;
$$;

comment on function tide._over_budget is
  'The budget, of the run or of an ancestor, that is used up, with what was spent; null = none.';

-- functions/usage/_park_over_budget.sql
create or replace function tide._park_over_budget(run tide.runs)
returns boolean
language plpgsql
volatile
as $$
declare
  v_spent jsonb;
begin
  if run.budget is null and run.parent_id is null then
    return false;
  end if;
  perform tide._lock_spending(run);
  v_spent := tide._over_budget(run);
  if v_spent is null then
    perform tide._charge(run, 0, 0, 1);
    return false;
  end if;
  perform tide._park(run, 'budget', v_spent ->> 'run_id', jsonb_build_object('spent', v_spent));
  return true;
end;
$$;

comment on function tide._park_over_budget is
  'Charge one step to the budgets of a run, or park it when one is used up and return true.';

-- functions/usage/_valid_amount.sql
create or replace function tide._valid_amount(argument text, value numeric)
returns numeric
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or value between 0 and 1000000000000000 then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_amount.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give an amount from 0 to 1000000000000000.';
end;
$$;

comment on function tide._valid_amount is 'An amount of something, or 22023; null passes.';

-- functions/usage/_valid_budget.sql
create or replace function tide._valid_budget(budget jsonb, prefix text default '')
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_cost numeric;
begin
  if budget is null then
    return null;
  end if;
  perform tide._known_keys(prefix || 'budget', budget, '{max_cost_usd,max_tokens,max_steps}');
  v_cost := tide._option_number(prefix || 'budget.max_cost_usd', budget -> 'max_cost_usd');
  if v_cost not between 0 and 1000000000 then
    raise exception '%budget.max_cost_usd is out of range: %', prefix, left(v_cost::text, 200)
      using errcode = '22023',
            hint = 'Give US dollars from 0 to 1000000000.';
  end if;
  perform tide._option_integer(
    prefix || 'budget.max_tokens', budget -> 'max_tokens', 0, 1000000000
  );
  perform tide._option_integer(prefix || 'budget.max_steps', budget -> 'max_steps', 0, 1000000000);
  return budget;
end;
$$;

comment on function tide._valid_budget is
  'The budget object of a run, or 22023: max_cost_usd, max_tokens and max_steps, none negative.';

-- functions/usage/_wake_budget.sql
create or replace function tide._wake_budget(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  for v_run in
    select r.*
    from tide.runs_active as r
    where r.run_id = any (_wake_budget.run_ids)
      and r.waiting_on = 'budget'
    order by r.run_id
  loop
    if tide._over_budget(v_run) is null then
      perform tide._resume(v_run, jsonb_build_object('waited_on', 'budget'));
    end if;
  end loop;
end;
$$;

comment on function tide._wake_budget is
  'Wake those of the locked runs that are parked on budgets which now suffice.';

-- functions/usage/list_usage.sql
create or replace function tide.list_usage(run_id uuid, max_records integer default 1000)
returns setof tide.usage
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_limit constant integer := tide._valid_integer(
    'max_records', list_usage.max_records, 1, 10000
  );
begin
  perform tide._find_run(list_usage.run_id);
  return query
  select u.*
  from tide.usage as u
  where u.run_id = list_usage.run_id
  order by u.usage_id
  limit v_limit;
end;
$$;

comment on function tide.list_usage is 'What a run spent, record by record, oldest first.';

-- functions/usage/record_usage.sql
create or replace function tide.record_usage(
  run_id uuid,
  kind text default 'custom',
  step text default null,
  provider text default null,
  model text default null,
  label text default null,
  quantity numeric default null,
  unit text default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  total_tokens bigint default null,
  cost_usd numeric default null,
  metadata jsonb default '{}',
  request_key text default null
)
returns tide.usage
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_usage tide.usage;
  v_run tide.runs;
begin
  v_usage.usage_id := tide._uuid7();
  v_usage.created_at := tide._now();
  v_usage.kind := tide._valid_text('kind', record_usage.kind, 128);
  v_usage.step := tide._optional_text('step', record_usage.step, 256);
  v_usage.provider := tide._optional_text('provider', record_usage.provider, 128);
  v_usage.model := tide._optional_text('model', record_usage.model, 256);
  v_usage.label := tide._optional_text('label', record_usage.label, 256);
  v_usage.unit := tide._optional_text('unit', record_usage.unit, 128);
  v_usage.request_key := tide._optional_text('request_key', record_usage.request_key, 512);
  v_usage.quantity := tide._valid_amount('quantity', record_usage.quantity);
  v_usage.cost_usd := tide._valid_amount('cost_usd', record_usage.cost_usd);
  v_usage.input_tokens := tide._valid_amount('input_tokens', record_usage.input_tokens);
  v_usage.output_tokens := tide._valid_amount('output_tokens', record_usage.output_tokens);
  v_usage.total_tokens := coalesce(
    tide._valid_amount('total_tokens', record_usage.total_tokens),
    v_usage.input_tokens + v_usage.output_tokens,
    v_usage.input_tokens,
    v_usage.output_tokens
  );
  v_usage.metadata := coalesce(tide._valid_payload('metadata', record_usage.metadata), '{}');
  v_run := tide._lock_any(record_usage.run_id);
  v_usage.run_id := v_run.run_id;
  perform tide._lock_spending(v_run);

  insert into tide.usage (
    run_id, usage_id, request_key, kind, step, provider, model, label, quantity, unit,
    input_tokens, output_tokens, total_tokens, cost_usd, metadata, created_at
  )
  values (
    v_usage.run_id,
    v_usage.usage_id,
    v_usage.request_key,
    v_usage.kind,
    v_usage.step,
    v_usage.provider,
    v_usage.model,
    v_usage.label,
    v_usage.quantity,
    v_usage.unit,
    v_usage.input_tokens,
    v_usage.output_tokens,
    v_usage.total_tokens,
    v_usage.cost_usd,
    v_usage.metadata,
    v_usage.created_at
  )
  on conflict do nothing;
  if not found then
    select u.*
    into v_usage
    from tide.usage as u
    where u.run_id = v_run.run_id
      and u.request_key = record_usage.request_key;
    return v_usage;
  end if;
  perform tide._charge(
    v_run, coalesce(v_usage.cost_usd, 0), coalesce(v_usage.total_tokens, 0), 0
  );
  perform tide._log(v_run.run_id, 'usage.recorded', to_jsonb(v_usage) - 'run_id');
  return v_usage;
end;
$$;

comment on function tide.record_usage is
  'Record what a run spent, also after it ended; total_tokens = input + output unless given, negative '
  'amounts are 22023, the same request_key counts once.';

-- functions/usage/set_budget.sql
create or replace function tide.set_budget(run_id uuid, limits jsonb)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  -- {} and not null: a run without a budget would take that of its queue at the next claim.
  v_limits constant jsonb := coalesce(
    tide._valid_budget(nullif(set_budget.limits, 'null')), '{}'
  );
  v_run constant tide.runs := tide._lock_any(set_budget.run_id);
  v_family uuid[];
begin
  if v_run.finished_at is null then
    update tide.runs_active as r
    set budget = v_limits
    where r.run_id = v_run.run_id;
  else
    update tide.runs_finished as r
    set budget = v_limits
    where r.run_id = v_run.run_id;
  end if;
  -- Lock, then count and judge: who spends or parks just now does so by the limits of before.
  v_family := tide._lock_family(v_run.run_id);
  perform tide._count_spending(v_run.run_id);
  perform tide._wake_budget(v_family);
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.set_budget is
  'Set the limits of a run, {"max_cost_usd", "max_tokens", "max_steps"}, null = none. It and its '
  'descendants, who may outlive it, go on if they were parked on a budget that now suffices.';

-- views/pending_gates.sql
create or replace view tide.pending_gates as
select
  g.gate_id,
  g.run_id,
  r.workflow,
  r.queue,
  g.name,
  g.prompt,
  g.data,
  g.capability,
  g.created_at,
  g.expires_at,
  g.on_timeout
from tide.gates as g
join tide.runs_active as r on r.run_id = g.run_id
where g.status = 'pending';

comment on view tide.pending_gates is
  'Decisions people are asked for, across runs; without tokens.';

-- views/queue_stats.sql
create or replace view tide.queue_stats as
with recursive finished as (
  -- One probe of the index for each queue.
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
  select a.queue
  from tide.runs_active as a
  where a.queue is not null
  union
  select m.queue
  from tide.queue_minutes as m
  union
  select f.queue
  from finished as f
  where f.queue is not null
),
active as (
  select
    a.queue,
    count(*) filter (where a.status = 'queued') as queued,
    count(*) filter (where a.ready) as ready,
    count(*) filter (
      where a.status = 'queued' and not a.ready and a.waiting_on is null
    ) as delayed,
    count(*) filter (where a.waiting_on is not null) as parked,
    count(*) filter (where a.status = 'running') as running,
    min(a.run_at) filter (where a.ready) as oldest_ready
  from tide.runs_active as a
  where a.queue is not null
  group by a.queue
)
select
  n.queue,
  coalesce(q.paused, false) as paused,
  coalesce(a.queued, 0) as queued,
  coalesce(a.ready, 0) as ready,
  coalesce(a.delayed, 0) as delayed,
  coalesce(a.parked, 0) as parked,
  coalesce(a.running, 0) as running,
  tide._now() - a.oldest_ready as oldest_ready_age,
  q.concurrency,
  (
    select count(*)
    from tide.slots as s
    where s.queue = n.queue
      and s.run_id is not null
  ) as slots_busy,
  q.rate_limit,
  q.rate_period,
  case
    when q.rate_limit is not null then (
      select count(*)
      from tide.permits as p
      where p.queue = n.queue
        and p.available_at <= tide._now()
    )
  end as rate_left,
  c.completed_hour,
  c.failed_hour,
  c.cancelled_hour,
  c.completed_day,
  c.failed_day,
  c.cancelled_day
from names as n
left join tide.queues as q on q.queue = n.queue
left join active as a on a.queue = n.queue
cross join (
  select
    k.counted_until,
    date_trunc('minute', tide._now()) - interval '1 day' as day,
    date_trunc('minute', tide._now()) - interval '1 hour' as hour
  from tide.ticks as k
) as t
cross join lateral (
  select
    coalesce(sum(e.completed) filter (where e.minute >= t.hour), 0)::bigint as completed_hour,
    coalesce(sum(e.failed) filter (where e.minute >= t.hour), 0)::bigint as failed_hour,
    coalesce(sum(e.cancelled) filter (where e.minute >= t.hour), 0)::bigint as cancelled_hour,
    coalesce(sum(e.completed), 0)::bigint as completed_day,
    coalesce(sum(e.failed), 0)::bigint as failed_day,
    coalesce(sum(e.cancelled), 0)::bigint as cancelled_day
  from (
    select
      m.minute,
      m.completed,
      m.failed,
      m.cancelled
    from tide.queue_minutes as m
    where m.queue = n.queue
      and m.minute >= t.day
    union all
    select
      date_trunc('minute', f.finished_at),
      count(*) filter (where f.status = 'completed'),
      count(*) filter (where f.status = 'failed'),
      count(*) filter (where f.status = 'cancelled')
    from tide.runs_finished as f
    where f.queue = n.queue
      and f.finished_at >= greatest(t.counted_until, t.day)
    group by date_trunc('minute', f.finished_at)
  ) as e
) as c;

comment on view tide.queue_stats is
  'Each queue: runs by state, age of the oldest ready run, cap and rate, and what ended within the '
  'last hour and day. Reads live runs and counted minutes, never the whole history.';

-- views/usage_by_day.sql
create or replace view tide.usage_by_day as
select
  (u.created_at at time zone 'UTC')::date as day,
  count(*) as records,
  sum(u.input_tokens) as input_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.total_tokens) as total_tokens,
  sum(u.cost_usd) as cost_usd
from tide.usage as u
group by (u.created_at at time zone 'UTC')::date;

comment on view tide.usage_by_day is 'What was spent on each day, UTC.';

-- views/usage_by_run.sql
create or replace view tide.usage_by_run as
select
  u.run_id,
  count(*) as records,
  sum(u.input_tokens) as input_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.total_tokens) as total_tokens,
  sum(u.cost_usd) as cost_usd
from tide.usage as u
group by u.run_id;

comment on view tide.usage_by_run is 'What each run spent itself; ask for one run_id at a time.';

-- views/usage_by_workflow.sql
create or replace view tide.usage_by_workflow as
select
  r.workflow,
  count(*) as records,
  sum(u.input_tokens) as input_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.total_tokens) as total_tokens,
  sum(u.cost_usd) as cost_usd
from tide.usage as u
join tide.runs as r on r.run_id = u.run_id
group by r.workflow;

comment on view tide.usage_by_workflow is 'What the runs of each workflow spent.';

-- grants.sql
-- Last of all: a function that was just created is executable by PUBLIC.
revoke all on schema tide from public;
revoke all on all tables in schema tide from public;
revoke all on all sequences in schema tide from public;
revoke all on all routines in schema tide from public;

insert into tide.installs (version, functions_sha256)
values ('0.1.0', '60bb32a3e94acd82f92dd98e1adbb9413be91680dbb872a8dfc75c3404f88050');

commit;
