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
create type tide.settled as (
  accepted boolean,
  reason text,
  run_id uuid,
  lease_id uuid,
  workflow text,
  queue text,
  status text,
  dedupe_key text,
  priority integer,
  attempt integer,
  max_attempts integer,
  last_seq integer,
  slot integer,
  run_at timestamptz,
  created_at timestamptz,
  started_at timestamptz,
  deadline_at timestamptz,
  leased_until timestamptz,
  lease interval,
  worker text,
  input jsonb,
  metadata jsonb,
  budget jsonb,
  parent_id uuid,
  forked_from uuid,
  claimed tide.runs
);
comment on type tide.settled is
  'Answer of settle_and_claim: an outcome that was not plainly accepted, with accepted and reason, or '
  'a new run, with lease_id and what a worker needs of it. claimed is the new run as one value, for '
  'drivers of 0.1.0.';
drop function if exists tide.create_run;
drop function if exists tide.enqueue;
drop function if exists tide.open_gate;
drop function if exists tide._enqueue;
drop function if exists tide._is_set_aside;
drop function if exists tide._log;
drop function if exists tide.settle_and_claim;
drop function if exists tide._tick;
drop function if exists tide._finish;
drop function if exists tide._lower_floor;
drop function if exists tide._write_floors;
drop function if exists tide._claim;
drop function if exists tide.claim;
drop function if exists tide._enqueue_again;
drop function if exists tide._parse_child;
drop function if exists tide._add_child;
drop function if exists tide._valid_start;
