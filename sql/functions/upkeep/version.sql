create or replace function tide.version()
returns text
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select i.version
    from tide.installs as i
    order by i.install_id desc
    limit 1
  );
end;
$$;

comment on function tide.version is 'The version of the schema installed in this database.';
