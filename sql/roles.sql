-- Group roles nobody logs in as. They belong to the whole server, so they are made once and never
-- altered or dropped; where the installer may not make them, an administrator runs the text of
-- tidebase-pg roles --print, and the next upgrade grants. The parameter tide.role_prefix names those
-- of a new installation otherwise, so that members of those of another have no right in it.
do $$
declare
  v_prefix text := nullif(pg_catalog.current_setting('tide.role_prefix', true), '');
  v_installed text;
  v_role text;
begin
  if pg_catalog.to_regclass('tide.role_names') is not null then
    if v_prefix is not null and not exists (select from tide.installs) then
      update tide.role_names as n
      set prefix = v_prefix;
    end if;
    v_installed := (select n.prefix from tide.role_names as n);
    if v_prefix <> v_installed then
      raise exception 'the group roles of this installation begin with %, not with %',
          v_installed, v_prefix
        using errcode = '22023',
              hint = 'They are named when the schema is installed, and keep their names.';
    end if;
  end if;
  foreach v_role in array array['client', 'worker', 'operator', 'viewer', 'approver'] loop
    v_role := coalesce(v_installed, v_prefix, 'tide_') || v_role;
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
