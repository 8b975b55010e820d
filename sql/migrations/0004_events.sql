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
