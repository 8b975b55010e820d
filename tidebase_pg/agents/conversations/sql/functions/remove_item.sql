create or replace function tide_conversations.remove_item(conversation_id text, key text)
returns text
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  delete from tide_conversations.items as i
  using tide_conversations.conversations as c
  where c.conversation_id = remove_item.conversation_id
    and i.conversation_no = c.conversation_no
    and i.key = remove_item.key
  returning i.item::text
$$;

comment on function tide_conversations.remove_item is
  'Remove the item with this key from a conversation, and return it; null where there is none.';
