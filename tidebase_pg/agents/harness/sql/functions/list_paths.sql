-- Paths are of letters, digits and _.-/ alone, all of which stand before the tilde.
create or replace function tide_harness.list_paths(prefix text, max_paths integer)
returns setof text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select f.path
  from tide_harness.files as f
  where f.path >= list_paths.prefix
    and f.path < list_paths.prefix || '~'
  order by f.path
  limit list_paths.max_paths
$$;

comment on function tide_harness.list_paths is 'The paths that begin with a prefix, in order.';
