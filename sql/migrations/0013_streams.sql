-- Streams of runs. New table only.
create table tide.stream_chunks (
  run_id uuid not null,
  stream text not null,
  position bigint not null,
  size integer not null,
  step text,
  attempt integer not null,
  lease_id uuid not null,
  chunks jsonb,
  appended_at timestamptz not null,
  primary key (run_id, stream, position),
  constraint stream_chunks_size_counts_chunks check (
    size = coalesce(jsonb_array_length(chunks), 1) and size > 0
  )
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table tide.stream_chunks is
  'What runs wrote to their streams: many chunks a row, one row for each step that completed.';
comment on column tide.stream_chunks.position is
  'The number of the first chunk of the row, counted from 1 in each stream and never used twice.';
comment on column tide.stream_chunks.step is
  'The step that wrote; null = the workflow itself.';
comment on column tide.stream_chunks.attempt is
  'Which execution of the step wrote, or which attempt of the run.';
comment on column tide.stream_chunks.chunks is
  'Null = a mark: what this step wrote in an earlier execution is void.';
