-- Lanes: caps that queues share, in total and for each key. New tables and types only.
create table tide.lanes (
  lane text not null,
  total integer,
  per_key integer,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  units bigint,
  units_per_key bigint,
  period interval not null default '1 minute',
  unit text,
  throttled_until timestamptz,
  throttle_reason text,
  fair boolean,
  weights jsonb,
  breaker_failures integer,
  breaker_classes text[],
  breaker_delay interval,
  breaker_max_delay interval,
  opened_at timestamptz,
  probe_at timestamptz,
  probe_id uuid,
  probed_at timestamptz,
  probes integer not null default 0,
  adaptive boolean,
  adaptive_min integer,
  adaptive_limit integer,
  adaptive_round uuid,
  cut_at timestamptz,
  constraint lanes_pkey primary key (lane),
  constraint lanes_limits_are_positive check (
    total > 0
    and per_key > 0
    and adaptive_min > 0
  ),
  constraint lanes_adaptive_limit_is_below_total check (
    adaptive_limit > 0
    and adaptive_limit < total
    and adaptive
    and adaptive_round is not null
    or adaptive_limit is null
  ),
  constraint lanes_units_are_positive check (
    units > 0
    and units_per_key > 0
    and period > interval '0'
  )
);
comment on table tide.lanes is
  'What runs of any number of queues share, such as a provider: how many of them may run at once.';
comment on column tide.lanes.total is 'How many runs of the lane may run at once; null = any number.';
comment on column tide.lanes.per_key is
  'How many runs with one lane_key may run at once; null = any number.';
comment on column tide.lanes.throttled_until is
  'No run of the lane is claimed before; null or past = it is not throttled.';
comment on column tide.lanes.throttle_reason is 'Why it is throttled, as the caller says.';
comment on column tide.lanes.fair is
  'Whether the keys of the lane are served in turn; null = no, by priority and run_at.';
comment on column tide.lanes.weights is
  'How many turns keys have while another key has one: {"acme": 3}; null = all have one.';
comment on column tide.lanes.breaker_failures is
  'After how many failures in a row of breaker_classes its breaker opens; null = it has none.';
comment on column tide.lanes.breaker_classes is
  'The failures that count: types of errors, or failure classes.';
comment on column tide.lanes.breaker_delay is
  'How long after it opened the first run probes; null = 30 seconds.';
comment on column tide.lanes.breaker_max_delay is
  'The longest time between two probes; null = 10 minutes.';
comment on column tide.lanes.opened_at is
  'Since when its breaker is open; null = it is closed. Without a row in lane_failures a probe has '
  'succeeded, and who looks next closes it.';
comment on column tide.lanes.probe_at is 'From when on one run of the open lane may probe.';
comment on column tide.lanes.probe_id is
  'The run that probes while it runs, or was woken to; afterwards the one that probed last.';
comment on column tide.lanes.probed_at is 'When probe_id was written.';
comment on column tide.lanes.probes is 'How many probes have failed since it opened.';
comment on column tide.lanes.adaptive is
  'Whether a refused run halves how many may run at once; null = no.';
comment on column tide.lanes.adaptive_min is 'What it is never halved below; null = 1.';
comment on column tide.lanes.adaptive_limit is
  'How many may run at once since runs were refused; null = total.';
comment on column tide.lanes.adaptive_round is
  'New with every step of adaptive_limit: places of this round count the runs completed since.';
comment on column tide.lanes.cut_at is
  'When it was last halved: refusals of runs claimed before tell nothing new.';
comment on column tide.lanes.units is
  'How many units its runs may use within any period; null = any number.';
comment on column tide.lanes.units_per_key is
  'How many units the runs with one lane_key may use within any period; null = any number.';
comment on column tide.lanes.period is 'How long what was used counts.';
comment on column tide.lanes.unit is
  'What of recorded usage counts as used: tokens, or the unit of a quantity; null = nothing, so the cost '
  'of a run is what it used.';

create table tide.lane_failures (
  lane text not null,
  failure_id bigint generated always as identity,
  failed_at timestamptz not null,
  class text not null,
  message text,
  constraint lane_failures_pkey primary key (lane, failure_id)
);
comment on table tide.lane_failures is
  'Failures in a row that the breaker of a lane counts; of an open one the last. A success deletes those '
  'it sees, and so waits for nobody.';

create table tide.lane_slots (
  lane text not null,
  lane_key text not null,
  slot integer not null,
  run_id uuid,
  looked_at timestamptz not null,
  round uuid,
  completed integer,
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
comment on column tide.lane_slots.round is
  'Of an adaptive lane the round that completed counts for; null = none completed while it was lowered.';
comment on column tide.lane_slots.completed is 'How many runs in this place completed in its round.';
create index lane_slots_looked_at_idx on tide.lane_slots (looked_at);

create table tide.lane_waits (
  run_id uuid not null,
  lane text not null,
  lane_key text not null,
  priority integer not null,
  run_at timestamptz not null,
  queue text,
  due_at timestamptz,
  run_key text,
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
comment on column tide.lane_waits.queue is
  'Its queue, of a run in the line of its own key; null = it is in that of the lane as a whole, or the '
  'lane is another one than that of its row.';
comment on column tide.lane_waits.due_at is
  'The run_at of a run that waits with its turn, which stands in run_at; null = run_at is its own.';
comment on column tide.lane_waits.run_key is
  'The lane_key of a run in the line of the lane as a whole; null = it has none, or waits in the line of it.';
create index lane_waits_turns_idx
on tide.lane_waits (lane, lane_key, queue, priority desc, run_at, run_id)
where queue is not null;
create index lane_waits_of_others_idx
on tide.lane_waits (lane, lane_key, priority desc, run_at, run_id)
where queue is null and lane_key <> '';
-- Always true: who looks a run up by its id alone cannot be led along a whole line.
create index lane_waits_order_idx
on tide.lane_waits (lane, lane_key, priority desc, run_at, run_id)
include (run_key)
where lane is not null;

create table tide.lane_purses (
  lane text not null,
  lane_key text not null,
  purse integer not null,
  looked_at timestamptz not null,
  bin_times timestamptz[] not null default '{}',
  bin_units numeric[] not null default '{}',
  constraint lane_purses_pkey primary key (lane, lane_key, purse)
)
with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.lane_purses is
  'Each has a share of the units of a line of a lane. Who charges a share has locked its row, with skip '
  'locked, so that claims charge different purses at once and none waits.';
comment on column tide.lane_purses.lane_key is 'Whose line it is; empty = of the lane as a whole.';
comment on column tide.lane_purses.looked_at is
  'When it was made, or upkeep last looked at it: purses of keys nobody uses are forgotten then.';
comment on column tide.lane_purses.bin_times is
  'When the newest charge of each bin was made: until a period after it the whole bin counts.';
comment on column tide.lane_purses.bin_units is
  'The units of each bin: settled charges, of a sixtieth of a period at most, that were folded together.';
create index lane_purses_looked_at_idx on tide.lane_purses (looked_at);

create table tide.lane_charges (
  lane text not null,
  lane_key text not null,
  purse integer not null,
  charged_at timestamptz not null,
  charge_id bigint generated always as identity,
  run_id uuid not null,
  units bigint not null,
  open boolean not null,
  constraint lane_charges_pkey primary key (lane, lane_key, purse, charged_at, charge_id),
  constraint lane_charges_units_are_not_negative check (units >= 0)
)
with (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.lane_charges is
  'What runs took of the units of a line of a lane: it counts for one period. Of many, those settled are '
  'folded into bins of their purse. More than its share in a purse is what runs used beyond their cost, '
  'or from before a lower limit.';
comment on column tide.lane_charges.run_id is 'The run, or the hold_id of run_lanes.';
comment on column tide.lane_charges.open is
  'Whether the attempt it was taken for is under way, so that it is not known yet what it used.';
create index lane_charges_open_idx on tide.lane_charges (run_id) where open;

create table tide.lane_heads (
  lane text not null,
  lane_key text not null,
  turn_at timestamptz not null,
  run_id uuid not null,
  queue text not null,
  constraint lane_heads_pkey primary key (lane, turn_at, run_id)
)
with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
create index lane_heads_of_keys_idx on tide.lane_heads (lane, lane_key, turn_at);
comment on table tide.lane_heads is
  'The runs of fair lanes that stand in the order of claims, or wait for a place in the lane with their '
  'turn: the first few of each key. Written only by who has locked the run.';
comment on column tide.lane_heads.lane_key is 'The key of the run; empty = it has none.';
comment on column tide.lane_heads.turn_at is
  'In the virtual time of the lane, which moves on by a millisecond while each key is served once.';

create table tide.lane_keys (
  lane text not null,
  lane_key text not null,
  looked_at timestamptz not null,
  constraint lane_keys_pkey primary key (lane, lane_key)
)
with (fillfactor = 50);
create index lane_keys_looked_at_idx on tide.lane_keys (looked_at);
comment on table tide.lane_keys is
  'Keys of fair lanes in whose lines runs waited: who gives turns to the next ones locks the row, with skip '
  'locked, so that claims beside each other do not all give them.';
comment on column tide.lane_keys.looked_at is
  'When it was made, or upkeep last looked at it: those nobody needs are forgotten then.';

create table tide.lane_clocks (
  lane text not null,
  turn_at timestamptz not null,
  constraint lane_clocks_pkey primary key (lane)
)
with (fillfactor = 50);
comment on table tide.lane_clocks is
  'The virtual time of fair lanes. Apart from lanes, since claims write it.';
comment on column tide.lane_clocks.turn_at is
  'The latest turn that was claimed; claims that meet another leave it to that one.';

create table tide.run_lanes (
  run_id uuid not null,
  step text not null default '',
  lane text not null,
  lane_key text,
  cost bigint,
  hold_id uuid not null default gen_random_uuid(),
  held boolean not null default false,
  lane_slot integer,
  lane_key_slot integer,
  units_left bigint,
  constraint run_lanes_pkey primary key (run_id, step, lane),
  constraint run_lanes_hold_nothing_unless_held check (
    held
    or num_nonnulls(lane_slot, lane_key_slot, units_left) = 0
  )
)
with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
comment on table tide.run_lanes is
  'The lanes of a run beside that of its row, and those of its steps. Written only by who has locked the '
  'run.';
comment on column tide.run_lanes.step is
  'The step that holds it, or for which the run waits; empty = the run, for each of its attempts.';
comment on column tide.run_lanes.hold_id is 'Stands for it in lane_charges, where it counts by itself.';
comment on column tide.run_lanes.held is
  'Whether it counts: its run runs or is pushed. Its columns are then as those of a run.';
create unique index run_lanes_lane_slot_uidx
on tide.run_lanes (lane, lane_slot)
where lane_slot is not null;
create unique index run_lanes_lane_key_slot_uidx
on tide.run_lanes (lane, lane_key, lane_key_slot)
where lane_key_slot is not null;
create index run_lanes_held_idx on tide.run_lanes (lane, lane_key, run_id) where held;

create type tide.lane_asks as (
  place bigint,
  run_id uuid,
  hold_id uuid,
  lane text,
  lane_key text,
  cost bigint
);
comment on type tide.lane_asks is
  'That a run, by its place among those picked, needs a place in a lane; hold_id = the run, for the lane of '
  'its row, or that of run_lanes.';
create type tide.lane_answers as (
  lacking bigint[],
  lines text[],
  shut text[],
  lane_slots integer[],
  lane_key_slots integer[],
  charges tide.lane_charges[]
);
comment on type tide.lane_answers is
  'What lanes say of runs that ask: by the place of a run the ask that keeps it from running and in which '
  'line, and by ask why its lane is shut and which places are locked for it; what is charged if it runs.';

create type tide.lane_holds as (
  run_id uuid,
  lane text,
  lane_key text,
  lane_slot integer,
  lane_key_slot integer
);
comment on type tide.lane_holds is
  'A run or step that counts in a lane, and the places it holds there, null = none.';

create type tide.lane_lines as (
  lane text,
  lane_key text,
  queue text,
  heads integer,
  most integer
);
comment on type tide.lane_lines is
  'Runs of a key and a queue that wait for their turns in a fair lane: until so many have one, but no more '
  'than most of them now.';

create type tide.picked as (
  run_ids uuid[],
  lanes text[],
  turns tide.lane_heads[]
);
comment on type tide.picked is
  'Ready runs locked in claim order; lanes = that of each which is in one, null = none is; turns = those '
  'that some have.';
create type tide.admission as (
  run_ids uuid[],
  lane_slots integer[],
  lane_key_slots integer[],
  passed uuid[],
  parked integer,
  units bigint[]
);
comment on type tide.admission is
  'What lanes said of picked runs: those that may run and the places they hold, those to be passed over '
  'this time, and how many were parked.';
