-- What was appended already leaves a gap in the positions, and costs no second update.
create or replace function tide_conversations.append_items(
  conversation_id text,
  items jsonb,
  key text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_size constant integer := jsonb_array_length(append_items.items);
  v_bytes constant integer := pg_column_size(append_items.items);
  v_limit constant integer := 16777216;
  v_conversation tide_conversations.conversations;
begin
  if v_bytes > v_limit then
    raise exception 'an append of % bytes to conversation % is too large',
        v_bytes, quote_literal(append_items.conversation_id)
      using errcode = 'TD040',
            detail = format('The limit is %s bytes.', v_limit),
            hint = 'Append fewer items at once, and keep files elsewhere.';
  end if;
  insert into tide_conversations.conversations as c (conversation_id, last_position)
  values (append_items.conversation_id, v_size)
  on conflict on constraint conversations_are_unique do update
  set
    last_position = c.last_position + v_size,
    touched_at = case
      when c.touched_at < excluded.touched_at - interval '1 minute' then excluded.touched_at
      else c.touched_at
    end
  returning c.*
  into v_conversation;
  insert into tide_conversations.items (conversation_no, position, item, key)
  select
    v_conversation.conversation_no,
    v_conversation.last_position - v_size + i.place,
    i.item,
    append_items.key || ':' || i.place
  from jsonb_array_elements(append_items.items) with ordinality as i(item, place)
  on conflict do nothing;
  return v_conversation.last_position;
end;
$$;

comment on function tide_conversations.append_items is
  'Append items, an array, to a conversation, made if need be, and return the position given last. Under '
  'a key the first item has the key <key>:1, and so on; those there are left alone. Above 16 MB: TD040.';
