-- Runs whose input lies in run_inputs have none in their row. A short lock, nothing is rewritten.
alter table tide.runs alter column input drop not null;
comment on column tide.runs.input is
  'null = it lies in run_inputs. Functions and views answer it wherever it lies.';
