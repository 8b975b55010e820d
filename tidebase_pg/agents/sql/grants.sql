-- Last of all: a function that was just created is executable by PUBLIC.
revoke all on all tables in schema {schema} from public;
revoke all on all sequences in schema {schema} from public;
revoke all on all routines in schema {schema} from public;

-- The group role of workers has the name that the installation beside it gives, if there is one.
do $$
declare
  v_worker text := 'tide_worker';
  v_role text;
begin
  if pg_catalog.to_regprocedure('tide._group_role(text)') is not null then
    execute 'select tide._group_role($1)' into v_worker using 'worker';
  end if;
  for v_role in
    select r.rolname
    from pg_catalog.pg_roles as r
    where r.rolname = v_worker
  loop
    execute pg_catalog.format('grant usage on schema {schema} to %I', v_role);
    execute (
      select pg_catalog.string_agg(
        pg_catalog.format('grant execute on routine %s to %I', p.oid::pg_catalog.regprocedure, v_role),
        '; '
        order by p.proname
      )
      from pg_catalog.pg_proc as p
      where p.pronamespace = '{schema}'::pg_catalog.regnamespace
        and p.proname !~ '^_'
    );
  end loop;
end;
$$;
