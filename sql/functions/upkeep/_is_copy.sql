create or replace function tide._is_copy()
returns boolean
language plpgsql
volatile
as $$
declare
  v_here constant tide.identity := tide._here();
begin
  return exists (
    select
    from tide.identity as i
    where i.system_identifier <> v_here.system_identifier
      or i.database_oid <> v_here.database_oid
  );
end;
$$;

comment on function tide._is_copy is
  'Whether this database is a copy of the one the installation belongs to.';
