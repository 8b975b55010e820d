create or replace function tide.list_keys()
returns table (
  name text,
  role text,
  shared boolean,
  created_at timestamptz,
  created_by text,
  last_used_at timestamptz,
  revoked_at timestamptz
)
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    k.name,
    k.role,
    k.shared,
    k.created_at,
    k.created_by,
    k.last_used_at,
    k.revoked_at
  from tide.api_keys as k
  order by k.name;
end;
$$;

comment on function tide.list_keys is
  'All keys of the HTTP door by name, revoked ones too; neither tokens nor their hashes.';
