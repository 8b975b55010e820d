-- Runs of pydantic-ai-harness: what happened in them, where they can go on. New tables only.
create table tide_harness.conversations (
  conversation_no bigint generated always as identity primary key,
  conversation_id text not null,
  is_run boolean not null,
  touched_at timestamptz not null default clock_timestamp(),
  constraint conversations_are_unique unique (conversation_id, is_run)
);
create index conversations_touched_idx on tide_harness.conversations (touched_at);
comment on table tide_harness.conversations is
  'What runs share messages in. Who writes to one holds its row for key share, who removes it holds it '
  'alone.';
comment on column tide_harness.conversations.is_run is
  'Whether this is one run without a conversation, by its id.';
comment on column tide_harness.conversations.touched_at is
  'When anything of it was last written, exact to a minute.';

create table tide_harness.runs (
  run_no bigint generated always as identity primary key,
  run_id text not null,
  conversation_no bigint not null,
  conversation_id text,
  parent_run_id text,
  record json,
  constraint runs_are_unique unique (run_id),
  constraint runs_belong_to_a_conversation foreign key (conversation_no)
    references tide_harness.conversations (conversation_no) on delete cascade
);
create index runs_place_idx on tide_harness.runs (conversation_no);
create index runs_conversation_idx on tide_harness.runs (conversation_id)
where conversation_id is not null;
create index runs_parent_idx on tide_harness.runs (parent_run_id) where parent_run_id is not null;
comment on table tide_harness.runs is 'Runs of agents.';
comment on column tide_harness.runs.record is
  'What it was registered with; null = something was written of it before.';

create table tide_harness.events (
  run_no bigint not null,
  event_no bigint generated always as identity,
  idempotency_key text,
  record json not null,
  primary key (run_no, event_no),
  constraint events_belong_to_a_run foreign key (run_no)
    references tide_harness.runs (run_no) on delete cascade
);
create unique index events_key_uidx on tide_harness.events (run_no, idempotency_key)
where idempotency_key is not null;
comment on table tide_harness.events is 'What happened in a run, in order.';

create table tide_harness.messages (
  conversation_no bigint not null,
  hash bytea not null,
  parent_hash bytea,
  message json not null,
  primary key (conversation_no, hash),
  constraint messages_belong_to_a_conversation foreign key (conversation_no)
    references tide_harness.conversations (conversation_no) on delete cascade
);
comment on table tide_harness.messages is
  'Messages, each after the one it points at: histories that begin alike share them.';
comment on column tide_harness.messages.hash is 'Of the message and all before it.';

create table tide_harness.snapshots (
  run_no bigint not null,
  snapshot_no bigint generated always as identity,
  state text not null,
  head_hash bytea,
  record json not null,
  primary key (run_no, snapshot_no),
  constraint snapshots_belong_to_a_run foreign key (run_no)
    references tide_harness.runs (run_no) on delete cascade
);
comment on table tide_harness.snapshots is 'Points from which a run can go on.';
comment on column tide_harness.snapshots.head_hash is
  'The last message of its history; null = the history is empty.';

create table tide_harness.snapshot_keys (
  run_no bigint not null,
  idempotency_key text not null,
  primary key (run_no, idempotency_key),
  constraint snapshot_keys_belong_to_a_run foreign key (run_no)
    references tide_harness.runs (run_no) on delete cascade
);
comment on table tide_harness.snapshot_keys is
  'Snapshots that were saved, also those removed since: they are not saved again.';

create table tide_harness.effects (
  run_no bigint not null,
  tool_call_id text not null,
  effect_no bigint generated always as identity,
  status text not null,
  record json not null,
  primary key (run_no, tool_call_id),
  constraint effects_belong_to_a_run foreign key (run_no)
    references tide_harness.runs (run_no) on delete cascade
);
comment on table tide_harness.effects is
  'What is known of calls of tools; started = nobody knows whether it took effect.';
