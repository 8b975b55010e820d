-- Lanes: caps that queues share, in total and for each key. New tables and types only.
create table tide.lanes (
  lane text not null,
  total integer,
  per_key integer,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint lanes_pkey primary key (lane),
  constraint lanes_limits_are_positive check (total > 0 and per_key > 0)
);
comment on table tide.lanes is
  'What runs of any number of queues share, such as a provider: how many of them may run at once.';
comment on column tide.lanes.total is 'How many runs of the lane may run at once; null = any number.';
comment on column tide.lanes.per_key is
  'How many runs with one lane_key may run at once; null = any number.';

create table tide.lane_slots (
  lane text not null,
  lane_key text not null,
  slot integer not null,
  run_id uuid,
  looked_at timestamptz not null,
  constraint lane_slots_pkey primary key (lane, lane_key, slot)
)
with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.lane_slots is
  'One row per place in a line of a lane. A claim takes a free row with skip locked, so N rows allow N '
  'running runs without a lock on the lane.';
comment on column tide.lane_slots.lane_key is 'Whose line it is; empty = of the lane as a whole.';
comment on column tide.lane_slots.run_id is
  'The run that holds the place; not indexed, so that taking and freeing stay HOT.';
comment on column tide.lane_slots.looked_at is
  'When it was made, or upkeep last looked at it: free places of keys are forgotten then, and made again '
  'when a claim needs them.';
create index lane_slots_looked_at_idx on tide.lane_slots (looked_at);

create table tide.lane_waits (
  run_id uuid not null,
  lane text not null,
  lane_key text not null,
  priority integer not null,
  run_at timestamptz not null,
  constraint lane_waits_pkey primary key (run_id)
)
with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.lane_waits is
  'Runs a claim found without a place in a lane: parked, outside of the order of claims. Written only '
  'by who has locked the run.';
comment on column tide.lane_waits.lane_key is
  'The line that is full; empty = that of the lane as a whole.';
comment on column tide.lane_waits.run_at is 'The place of the run in its queue, which it gets back.';
create index lane_waits_order_idx
on tide.lane_waits (lane, lane_key, priority desc, run_at, run_id);

create type tide.picked as (
  run_ids uuid[],
  laned boolean
);
comment on type tide.picked is 'Ready runs locked in claim order; laned = some of them are in lanes.';
create type tide.admission as (
  run_ids uuid[],
  lane_slots integer[],
  lane_key_slots integer[],
  passed uuid[],
  parked integer
);
comment on type tide.admission is
  'What lanes said of picked runs: those that may run and the places they hold, those to be passed over '
  'this time, and how many were parked.';
