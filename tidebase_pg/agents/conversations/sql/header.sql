create schema if not exists tide_conversations;
comment on schema tide_conversations is
  'Conversations of agents, kept by tidebase-pg.';

create table if not exists tide_conversations.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table tide_conversations.migrations is
  'What was applied to this database; a migration whose sha256 differs is refused.';
