create or replace function tide_conversations.read_history(
  head_id text,
  max_entries bigint default null
)
returns table (
  entry_id text,
  parent_id text,
  message text,
  kind text
)
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  with recursive history as (
    select
      e.*,
      1 as place
    from tide_conversations.entries as e
    where e.entry_id = read_history.head_id
      and (read_history.max_entries is null or read_history.max_entries > 0)
    union all
    select
      e.*,
      h.place + 1
    from history as h
    join tide_conversations.entries as e
      on e.entry_id = h.parent_id
    where read_history.max_entries is null
      or h.place < read_history.max_entries
  )
  select
    h.entry_id,
    h.parent_id,
    h.message::text,
    h.kind
  from history as h
  order by h.place desc
$$;

comment on function tide_conversations.read_history is
  'The entries up to head_id in order, the last max_entries of them.';
