-- Rows to be locked instead of advisory locks, and where a tick or a pause is written while an open
-- transaction holds the row of ticks. No lock on what is there.
create table tide.turns (
  turn text,
  next_at timestamptz not null default '-infinity',
  constraint turns_pkey primary key (turn)
)
with (fillfactor = 50);
comment on table tide.turns is
  'Whose turn it is: a piece of upkeep locks its row, so one caller does it at a time. Only functions of '
  'the schema can lock these rows; the number of an advisory lock any login could take.';
comment on column tide.turns.next_at is
  'Of the turns of ticks: the next claim after this time does a small tick, where the row of ticks has '
  'been held for long.';
insert into tide.turns (turn)
values
  ('reconcile'),
  ('claim_floors'),
  ('endpoints'),
  ('tick 1'),
  ('tick 2'),
  ('tick 3'),
  ('tick 4'),
  ('tick 5'),
  ('tick 6'),
  ('tick 7'),
  ('tick 8');
insert into tide.turns (turn)
select 'worker ' || n.bucket
from generate_series(0, 63) as n(bucket);

create unlogged table tide.key_turns (
  key_hash bytea,
  constraint key_turns_pkey primary key (key_hash)
);
comment on table tide.key_turns is
  'Dedupe keys of batches under way: of two that share a key, the later one waits here. No committed '
  'transaction leaves a row.';

create table tide.pauses (
  only_row boolean default true,
  paused_at timestamptz not null,
  paused_by text not null,
  pause_reason text,
  constraint pauses_pkey primary key (only_row),
  constraint pauses_have_one_row check (only_row)
);
comment on table tide.pauses is
  'The pause of the installation where a transaction held the row of ticks when pause was called.';

create table tide.lowered_floors (
  queue text not null,
  priority integer not null,
  run_at timestamptz not null
);
create index lowered_floors_idx on tide.lowered_floors (queue, priority, run_at);
comment on table tide.lowered_floors is
  'Claim floors lowered while another transaction held the floor itself; an insert waits for nobody. '
  'The next tick that has the floor takes them back.';
