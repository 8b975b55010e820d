-- Types of functions. New types only.
create type tide.new_run as (
  run_id uuid,
  workflow text,
  queue text,
  input jsonb,
  metadata jsonb,
  dedupe_key text,
  priority integer,
  max_attempts integer,
  run_at timestamptz,
  created_at timestamptz,
  deadline interval,
  deadline_at timestamptz,
  backoff jsonb,
  budget jsonb,
  recovery_url text,
  given_id boolean,
  on_conflict text,
  requested_by text,
  told_events integer,
  parent_id uuid,
  forked_from uuid,
  last_seq integer,
  attempt integer,
  started_at timestamptz,
  worker text,
  error jsonb,
  lane text,
  lane_key text,
  after_mode text,
  after_failure text,
  after uuid[],
  debounce interval,
  dedupe_for interval,
  cost bigint,
  also_lanes jsonb
);
comment on type tide.new_run is
  'What a run is made of. given_id = the caller made its id, so that the call can be repeated; '
  'told_events = 1: its row tells that it was enqueued; the last ones are set for runs made again.';

create type tide.reservation as (
  settings tide.queues,
  run_ids uuid[],
  slots integer[],
  permits integer[],
  lane_slots integer[],
  lane_key_slots integer[],
  units bigint[],
  turns tide.lane_heads[]
);
comment on type tide.reservation is
  'Ready runs locked for a claim or a dispatch, with the slots and permits locked for them, and the turns '
  'of these and others; run_ids null = nothing to take.';

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
  parent_id uuid,
  lane text,
  lane_key text,
  lane_slot integer,
  lane_key_slot integer,
  held boolean,
  followed boolean,
  budgeted boolean,
  holds_key boolean,
  charged boolean,
  units_used bigint,
  reported boolean
);
comment on type tide.ended is
  'A run that has just ended and had more to it than that; told = its row tells the event, held = it ran or '
  'was pushed, so it counted in its lanes, reported = its worker says that it ended, so what it recorded is '
  'what it used.';
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

create type tide.run_filter as (
  status text,
  waiting_on text,
  queue text,
  workflow text,
  failure_class text,
  metadata jsonb,
  error text,
  oldest uuid,
  before uuid,
  step text,
  fingerprint text,
  finished_after timestamptz,
  finished_before timestamptz
);
comment on type tide.run_filter is
  'Which runs to look for; null = any. Ids from oldest on and below before.';

create type tide.redrive_place as (
  before uuid,
  failed_until timestamptz,
  run_at timestamptz
);
comment on type tide.redrive_place is
  'How far a redrive is: runs below before that failed until then are still to do, the next of them due '
  'at run_at.';

create type tide.run_budget as (
  run_id uuid,
  budget jsonb
);
comment on type tide.run_budget is 'A budget, and the run whose it is.';
