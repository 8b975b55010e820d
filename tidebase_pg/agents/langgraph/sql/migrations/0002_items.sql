-- Memories of LangGraph's stores. A new table only.
create table tide_langgraph.items (
  namespace text[] collate "C" not null,
  key text collate "C" not null,
  value jsonb not null,
  words tsvector,
  ttl interval,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  expires_at timestamptz,
  primary key (namespace, key),
  constraint items_expire_iff_they_have_a_ttl check ((ttl is null) = (expires_at is null))
);
create index items_words_idx on tide_langgraph.items using gin (words) where words is not null;
create index items_unindexed_idx on tide_langgraph.items (namespace) where words is null;
create index items_expiring_idx on tide_langgraph.items (expires_at) where expires_at is not null;
comment on table tide_langgraph.items is
  'Memories: documents by namespace and key. Namespaces compare byte by byte, so that all below one '
  'are a range of the primary key.';
comment on column tide_langgraph.items.words is
  'What a search by text finds it by; null = all text of the value, read when somebody searches.';
comment on column tide_langgraph.items.ttl is
  'How long after it was last read or written it is gone; null = it stays.';
