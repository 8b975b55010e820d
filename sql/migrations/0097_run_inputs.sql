-- Where large inputs lie, so that they are written once, whatever their runs do. No lock.
create table tide.run_inputs (
  run_id uuid not null,
  input jsonb not null,
  constraint run_inputs_pkey primary key (run_id)
)
with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
comment on table tide.run_inputs is
  'Inputs above a kilobyte. The row of a run is written three times, its input only once; such a run '
  'has null in tide.runs.input.';
