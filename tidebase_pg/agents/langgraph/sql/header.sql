create schema if not exists tide_langgraph;
comment on schema tide_langgraph is
  'Checkpoints and memories of LangGraph, kept by tidebase-pg.';

create table if not exists tide_langgraph.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table tide_langgraph.migrations is
  'What was applied to this database; a migration whose sha256 differs is refused.';
