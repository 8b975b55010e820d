create or replace function tide_conversations.delete_conversation(conversation_id text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from tide_conversations.conversations as c
  where c.conversation_id = delete_conversation.conversation_id;
  return found;
end;
$$;

comment on function tide_conversations.delete_conversation is
  'Remove a conversation with everything in it, and say whether there was one.';
