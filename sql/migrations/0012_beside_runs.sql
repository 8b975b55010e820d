-- What stands beside runs: large inputs, leases that ended without a report, which runs come after
-- which. New tables only.
create table tide.run_inputs (
  run_id uuid not null,
  input jsonb not null,
  constraint run_inputs_pkey primary key (run_id)
)
with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
comment on table tide.run_inputs is
  'Inputs above a kilobyte. The row of a run is written three times, its input only once; such a run '
  'has null in tide.runs.input.';

create table tide.lost_leases (
  run_id uuid not null,
  lease_id uuid not null,
  worker text,
  lease interval not null,
  lost_at timestamptz not null,
  stopped_at timestamptz,
  refused_error bytea,
  refusals integer not null default 0,
  primary key (run_id, lease_id)
);
comment on table tide.lost_leases is
  'Leases taken from workers that had reported nothing: one of these may still be at work. Decides '
  'whether a call without a lease is the holder''s.';
comment on column tide.lost_leases.stopped_at is 'When this worker was last told to stop.';
comment on column tide.lost_leases.refused_error is
  'sha256 of the error in its last report of a step that was refused: for minutes after it a failure '
  'with the same error is its own.';
comment on column tide.lost_leases.refusals is
  'Refused reports that were logged; ten at most.';

create table tide.predecessors (
  run_id uuid not null,
  after_id uuid not null,
  after_failure text not null,
  run_at timestamptz not null,
  ended_as text,
  noticed boolean not null,
  constraint predecessors_pkey primary key (run_id, after_id),
  constraint predecessors_are_others check (run_id <> after_id)
)
with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.predecessors is
  'Which runs a run comes after; one row for each. Written by who made the run, by the end of after_id, '
  'and under the lock of the run.';
comment on column tide.predecessors.after_failure is
  'What an end other than completed means for the run: cancel, fail, or run all the same.';
comment on column tide.predecessors.run_at is 'Not before this time, whatever has ended.';
comment on column tide.predecessors.ended_as is
  'How after_id ended, the first time since; null while it is active.';
comment on column tide.predecessors.noticed is
  'false = upkeep has still to look at what this end means for the run.';
create index predecessors_open_idx on tide.predecessors (after_id)
where ended_as is null;
create index predecessors_unnoticed_idx on tide.predecessors (run_id)
where not noticed;

create table tide.held_keys (
  queue text not null,
  dedupe_key text not null,
  run_id uuid not null,
  until timestamptz not null,
  constraint held_keys_pkey primary key (queue, dedupe_key)
)
with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.held_keys is
  'Dedupe keys that finished runs still hold; one row for each key. Written by the end of a run, removed '
  'by the next run of the key and by upkeep.';
comment on column tide.held_keys.until is 'Before this time an enqueue of the key gives run_id.';
create index held_keys_until_idx on tide.held_keys (until);

comment on table tide.watchers is
  'Runs that are followed: only their events are notified on channel tide_events.';
