-- tide: with the functions
-- Runs that come after others: a new table. A short lock: a column without a rewrite; more in types of
-- functions, and functions with new arguments.
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

alter table tide.runs add column followed boolean;
comment on column tide.runs.followed is 'true = runs wait for the end of this one; null = none ever did.';

alter type tide.new_run
add attribute after_mode text,
add attribute after_failure text,
add attribute after uuid[];
alter type tide.ended add attribute followed boolean;
drop function if exists tide.enqueue;
drop function if exists tide._resume;
