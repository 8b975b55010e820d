-- tide: with the functions
-- Functions with new arguments or another answer, each made again in this transaction, and types
-- they use. No lock on tables.
create type tide.completions as (
  run_ids uuid[],
  lease_ids uuid[],
  results jsonb[],
  others jsonb,
  other_run_ids uuid[]
);
comment on type tide.completions is
  'Outcomes on their way through settle: those that say no more than that a run completed, and the '
  'others as they came.';
create type tide.ended as (
  run_id uuid,
  seq integer,
  status text,
  told boolean,
  attempt integer,
  queue text,
  slot integer,
  open_gates integer,
  parent_id uuid
);
comment on type tide.ended is
  'A run that has just ended and had more to it than that; told = its row tells the event.';
drop function if exists tide.create_run;
drop function if exists tide.enqueue;
drop function if exists tide.open_gate;
drop function if exists tide._enqueue;
drop function if exists tide._is_set_aside;
drop function if exists tide._log;
drop function if exists tide._tick;
drop function if exists tide._finish;
drop function if exists tide._lower_floor;
drop function if exists tide._write_floors;
