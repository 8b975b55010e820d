create or replace function tide_langgraph.get_items(items jsonb)
returns table (
  namespace text[],
  key text,
  value text,
  created_at timestamptz,
  updated_at timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_namespaces jsonb;
  v_keys text[];
begin
  return query
  select
    i.namespace,
    i.key,
    i.value::text,
    i.created_at,
    i.updated_at
  from jsonb_to_recordset(get_items.items) as x(namespace text[], key text)
  join tide_langgraph.items as i
    on i.namespace = x.namespace
    and i.key = x.key
  where i.expires_at is null
    or i.expires_at > clock_timestamp();
  select
    jsonb_agg(jsonb_build_object('namespace', x.namespace)),
    array_agg(x.key)
  into v_namespaces, v_keys
  from jsonb_to_recordset(get_items.items) as x(namespace text[], key text, refresh boolean)
  join tide_langgraph.items as i
    on i.namespace = x.namespace
    and i.key = x.key
  where x.refresh
    and i.expires_at > clock_timestamp();
  if v_keys is not null then
    perform tide_langgraph._refresh(v_namespaces, v_keys);
  end if;
end;
$$;

comment on function tide_langgraph.get_items is
  'Documents by namespace and key, [{"namespace", "key", "refresh"}], those there are. refresh begins '
  'their time again.';
