create or replace function tide_conversations.read_items(
  conversation_id text,
  through bigint default null,
  max_items bigint default null
)
returns table (
  "position" bigint,
  item text,
  key text,
  appended_at timestamptz
)
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  with latest as (
    select i.*
    from tide_conversations.conversations as c
    join tide_conversations.items as i
      on i.conversation_no = c.conversation_no
    where c.conversation_id = read_items.conversation_id
      and (read_items.through is null or i.position <= read_items.through)
    order by i.position desc
    limit read_items.max_items
  )
  select
    l.position,
    l.item::text,
    l.key,
    l.appended_at
  from latest as l
  order by l.position
$$;

comment on function tide_conversations.read_items is
  'The items of a conversation in order, those up to position through, the latest max_items of them. An '
  'unknown conversation has none.';
