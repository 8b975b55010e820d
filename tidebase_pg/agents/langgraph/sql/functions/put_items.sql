-- One order of locks for all callers, so that two batches never wait for each other. Rows that are not
-- there yet cannot be locked, so batches that share a document first share one of 64 locks.
create or replace function tide_langgraph.put_items(
  items jsonb,
  removed jsonb default '[]',
  language text default 'simple'
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_language constant regconfig := tide_langgraph._language(put_items.language);
begin
  if jsonb_array_length(put_items.items) + jsonb_array_length(put_items.removed) > 1 then
    perform pg_advisory_xact_lock(hashtext('tide_langgraph.items'), n.slot)
    from (
      select distinct hashtext((x.namespace, x.key)::text) & 63 as slot
      from jsonb_to_recordset(put_items.items || put_items.removed)
        as x(namespace text[], key text)
      order by slot
      offset 0
    ) as n;
    perform
    from tide_langgraph.items as i
    join (
      select
        x.namespace,
        x.key
      from jsonb_to_recordset(put_items.items) as x(namespace text[], key text)
      union all
      select
        x.namespace,
        x.key
      from jsonb_to_recordset(put_items.removed) as x(namespace text[], key text)
    ) as n
      on i.namespace = n.namespace
      and i.key = n.key
    order by i.namespace, i.key
    for update of i;
  end if;
  if jsonb_array_length(put_items.removed) > 0 then
    delete from tide_langgraph.items as i
    using jsonb_to_recordset(put_items.removed) as x(namespace text[], key text)
    where i.namespace = x.namespace
      and i.key = x.key;
  end if;
  insert into tide_langgraph.items as i (
    namespace, key, value, words, ttl, created_at, updated_at, expires_at
  )
  select
    x.namespace,
    x.key,
    x.value,
    case x.indexed
      when 'no' then ''::tsvector
      when 'all' then coalesce(tide_langgraph._words(x.value, v_language), ''::tsvector)
      when 'some' then to_tsvector(v_language, left(x.text, 100000))
    end,
    x.ttl * interval '1 minute',
    v_now,
    v_now,
    v_now + x.ttl * interval '1 minute'
  from jsonb_to_recordset(put_items.items) as x(
    namespace text[], key text, value jsonb, ttl double precision, indexed text, text text
  )
  order by x.namespace collate "C", x.key collate "C"
  on conflict on constraint items_pkey do update
  set
    value = excluded.value,
    words = excluded.words,
    ttl = excluded.ttl,
    created_at = case when i.expires_at <= v_now then v_now else i.created_at end,
    updated_at = v_now,
    expires_at = excluded.expires_at;
  perform tide_langgraph._keep_vectors(put_items.items);
  perform tide_langgraph._delete_expired(10);
end;
$$;

comment on function tide_langgraph.put_items is
  'Store documents, [{"namespace", "key", "value", "ttl", "indexed", "text", "vectors"}], and remove '
  'others. ttl in minutes; indexed: no, all, some (then by text), null = when searched; vectors, ["[1, 2]"], '
  'where the database keeps them.';
