-- Conversations of agents, one row per item. New tables only.
create table tide_conversations.conversations (
  conversation_no bigint generated always as identity primary key,
  conversation_id text not null,
  last_position bigint not null default 0,
  touched_at timestamptz not null default clock_timestamp(),
  constraint conversations_are_unique unique (conversation_id),
  constraint conversations_have_a_name check (conversation_id <> '')
);
create index conversations_touched_idx on tide_conversations.conversations (touched_at);
comment on table tide_conversations.conversations is
  'One row per conversation. Who writes to a conversation holds its row.';
comment on column tide_conversations.conversations.last_position is
  'The position given last, also to an item that was removed since.';
comment on column tide_conversations.conversations.touched_at is
  'When the conversation was last written to, exact to a minute.';

create table tide_conversations.items (
  conversation_no bigint not null,
  position bigint not null,
  item jsonb not null,
  key text,
  appended_at timestamptz not null default clock_timestamp(),
  primary key (conversation_no, position),
  constraint items_belong_to_a_conversation foreign key (conversation_no)
    references tide_conversations.conversations (conversation_no) on delete cascade
);
create unique index items_key_uidx on tide_conversations.items (conversation_no, key)
where key is not null;
comment on table tide_conversations.items is
  'What was said, in order: messages, calls of tools and what they returned.';
comment on column tide_conversations.items.key is
  'Its append and its place in it, so that the same append again changes nothing; null = no such key.';
