-- Group roles nobody logs in as. They belong to the whole server, so they are made once and never
-- altered or dropped; where the installer may not make them, an administrator runs the text of
-- tidebase-pg roles --print, and the next upgrade grants.
do $$
declare
  v_role text;
begin
  foreach v_role in array array[
    'tide_client', 'tide_worker', 'tide_operator', 'tide_viewer', 'tide_approver'
  ] loop
    if not exists (
      select
      from pg_catalog.pg_roles as r
      where r.rolname = v_role
    ) then
      begin
        execute pg_catalog.format('create role %I nologin', v_role);
      exception
        when insufficient_privilege then
          raise warning 'role % does not exist, and % may not make it', v_role, current_user
            using hint = 'An administrator runs the text of: tidebase-pg roles --print';
        when duplicate_object or unique_violation then
          null;  -- Another database of this server was installed at the same time.
      end;
    end if;
  end loop;
end;
$$;
