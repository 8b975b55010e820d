create or replace function tide_conversations.list_records(
  scope text default null,
  max_records bigint default null
)
returns setof text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.record::text
  from tide_conversations.records as r
  where list_records.scope is null
    or r.scope = list_records.scope
  order by r.updated_at desc, r.conversation_id
  limit list_records.max_records
$$;

comment on function tide_conversations.list_records is
  'Records of conversations, of one scope if given, the one saved last first.';
