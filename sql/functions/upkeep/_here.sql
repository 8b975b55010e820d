create or replace function tide._here()
returns tide.identity
language plpgsql
volatile
as $$
declare
  v_here tide.identity;
begin
  v_here.database_oid := (
    select d.oid
    from pg_database as d
    where d.datname = current_database()
  );
  begin
    v_here.system_identifier := (pg_control_system()).system_identifier;
    v_here.timeline := substring(pg_walfile_name(pg_current_wal_lsn()) for 8);
  exception
    -- Some hosted servers keep these to themselves; what is not known is not compared.
    when insufficient_privilege or undefined_function or feature_not_supported then
      null;
  end;
  return v_here;
end;
$$;

comment on function tide._here is
  'The identity of the database the session is in; parts the server does not tell are null.';
