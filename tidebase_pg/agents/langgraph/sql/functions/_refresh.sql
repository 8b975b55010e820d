create or replace function tide_langgraph._refresh(namespaces jsonb, keys text[])
returns void
language sql
volatile
as $$
  update tide_langgraph.items as i
  set expires_at = clock_timestamp() + i.ttl
  from (
    select
      l.namespace,
      l.key
    from tide_langgraph.items as l
    join rows from (
      jsonb_to_recordset(_refresh.namespaces) as (namespace text[]),
      unnest(_refresh.keys)
    ) as r(namespace, key)
      on l.namespace = r.namespace
      and l.key = r.key
    where l.ttl is not null
    order by l.namespace, l.key
    for update of l skip locked
  ) as x
  where i.namespace = x.namespace
    and i.key = x.key;
$$;

comment on function tide_langgraph._refresh is
  'Begin the time of these documents again; those others are writing to are left to them.';
