create or replace function tide_conversations.last_position(conversation_id text)
returns bigint
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(max(c.last_position), 0)
  from tide_conversations.conversations as c
  where c.conversation_id = last_position.conversation_id
$$;

comment on function tide_conversations.last_position is
  'The position given last in a conversation, 0 where there is none: read_items through it gives the '
  'same items later, whatever is appended meanwhile.';
