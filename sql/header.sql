do $$
begin
  if pg_catalog.current_setting('server_encoding') <> 'UTF8' then
    raise exception 'the encoding of database % is %, and tide needs UTF8',
        pg_catalog.current_database(), pg_catalog.current_setting('server_encoding')
      using errcode = '0A000',
            hint = 'Create a database of that encoding: template template0 encoding UTF8.';
  end if;
end
$$;

create schema if not exists tide;
do $$
begin
  -- Also one that was made in the moment since somebody looked.
  if pg_catalog.to_regclass('tide.migrations') is null and exists (
    select
    from pg_catalog.pg_namespace as n
    join pg_catalog.pg_roles as r on r.oid = n.nspowner
    where n.nspname = 'tide'
      and r.rolname <> current_user
      and not r.rolsuper
  ) then
    raise exception 'the schema tide was made by another role before; nothing was changed'
      using errcode = '42501',
            hint = 'Look who did it, then: drop schema tide;';
  end if;
end
$$;
comment on schema tide is 'Tidebase: durable runs, queues and steps. Installed and upgraded by tidebase-pg.';

create table if not exists tide.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default clock_timestamp(),
  applied_by text not null default session_user
);
alter table tide.migrations add column if not exists took interval;
comment on table tide.migrations is
  'Migrations applied to this database; a file whose sha256 differs is refused.';

create table if not exists tide.installs (
  install_id integer generated always as identity primary key,
  version text not null,
  functions_sha256 text not null,
  installed_at timestamptz not null default clock_timestamp(),
  installed_by text not null default session_user
);
comment on table tide.installs is
  'One row per change of the functions; the newest names the installed version.';
