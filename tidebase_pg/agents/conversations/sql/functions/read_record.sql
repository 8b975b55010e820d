create or replace function tide_conversations.read_record(conversation_id text)
returns text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.record::text
  from tide_conversations.records as r
  where r.conversation_id = read_record.conversation_id
$$;

comment on function tide_conversations.read_record is
  'The record of a conversation that branches; null where there is none.';
