create or replace function tide_langgraph.list_namespaces(
  conditions jsonb default '[]',
  max_depth integer default null,
  max_namespaces integer default 100,
  skip integer default 0
)
returns table (namespace text[])
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select distinct l.shortened
  from (
    select
      case
        when list_namespaces.max_depth is null then i.namespace
        else i.namespace[: list_namespaces.max_depth]
      end as shortened
    from tide_langgraph.items as i
    where (i.expires_at is null or i.expires_at > clock_timestamp())
      and tide_langgraph._has_path(i.namespace, list_namespaces.conditions)
  ) as l
  order by l.shortened
  limit list_namespaces.max_namespaces
  offset list_namespaces.skip;
end;
$$;

comment on function tide_langgraph.list_namespaces is
  'Namespaces that meet all conditions, [{"at_end", "path"}] with * for any label, cut at max_depth '
  'labels, in order.';
