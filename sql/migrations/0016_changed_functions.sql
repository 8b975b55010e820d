-- tide: with the functions
-- Functions with new arguments or another answer, each made again in this transaction, and a type
-- they use. No lock on tables.
create type tide.completions as (
  run_ids uuid[],
  lease_ids uuid[],
  results jsonb[],
  others jsonb
);
comment on type tide.completions is
  'Outcomes on their way through settle: those that say no more than that a run completed, and the '
  'others as they came.';
drop function if exists tide.create_run;
drop function if exists tide.enqueue;
drop function if exists tide.open_gate;
drop function if exists tide._enqueue;
drop function if exists tide._is_set_aside;
drop function if exists tide._log;
drop function if exists tide._tick;
drop function if exists tide._finish;
