-- Conversations that branch and are forked: messages that point at the one before. New tables only.
create table tide_conversations.entries (
  entry_id text primary key,
  parent_id text,
  root_id text not null,
  message jsonb not null,
  kind text not null default 'message',
  constraint entries_without_a_parent_are_roots check ((parent_id is null) = (root_id = entry_id))
);
create index entries_root_idx on tide_conversations.entries (root_id);
comment on table tide_conversations.entries is
  'Messages, each after the one it points at; forks and branches share those before them.';
comment on column tide_conversations.entries.root_id is
  'The first entry of its tree: what is shared with others is in the same tree.';

create table tide_conversations.records (
  conversation_id text primary key,
  revision text not null,
  scope text,
  head_id text,
  tips text[] not null,
  record jsonb not null,
  updated_at timestamptz not null
);
create index records_scope_idx on tide_conversations.records (scope, updated_at);
create index records_updated_idx on tide_conversations.records (updated_at);
create index records_tips_idx on tide_conversations.records using gin (tips);
comment on table tide_conversations.records is
  'Where the history of a conversation ends, and what it carries beside its messages.';
comment on column tide_conversations.records.revision is
  'Changes with each save: who saves must have read the one before.';
comment on column tide_conversations.records.tips is
  'The last entries of the history and of the branches it left.';
