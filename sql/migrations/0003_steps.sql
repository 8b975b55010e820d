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
