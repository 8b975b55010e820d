create or replace function tide_conversations.remove_last_item(conversation_id text)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_conversation_no bigint;
  v_item text;
begin
  select c.conversation_no
  into v_conversation_no
  from tide_conversations.conversations as c
  where c.conversation_id = remove_last_item.conversation_id
  for no key update;
  delete from tide_conversations.items as i
  where i.conversation_no = v_conversation_no
    and i.position = (
      select max(n.position)
      from tide_conversations.items as n
      where n.conversation_no = v_conversation_no
    )
  returning i.item::text
  into v_item;
  return v_item;
end;
$$;

comment on function tide_conversations.remove_last_item is
  'Remove the last item of a conversation, and return it; null where there is none.';
