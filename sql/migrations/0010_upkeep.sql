-- Identity and waiting workers. New tables only.
create table tide.identity (
  only_row boolean primary key default true,
  system_identifier bigint,
  database_oid oid,
  timeline text,
  failed_over_at timestamptz,
  adopted_at timestamptz not null default clock_timestamp(),
  constraint identity_has_one_row check (only_row)
);
comment on table tide.identity is
  'The database this installation belongs to. In a copy of it, upkeep pauses until adopt is called.';
comment on column tide.identity.timeline is
  'Changes at a failover; leases then get one further lease of grace.';
do $$
begin
  insert into tide.identity (system_identifier, database_oid, timeline)
  select
    (pg_control_system()).system_identifier,
    d.oid,
    substring(pg_walfile_name(pg_current_wal_lsn()) for 8)
  from pg_database as d
  where d.datname = current_database();
exception
  -- Some hosted servers keep these to themselves; what is not known is not compared.
  when insufficient_privilege or undefined_function or feature_not_supported then
    insert into tide.identity (database_oid)
    select d.oid
    from pg_database as d
    where d.datname = current_database();
end;
$$;

create table tide.waiters (
  queue text not null,
  waiter text not null,
  since timestamptz not null,
  until timestamptz not null,
  primary key (queue, waiter, since)
) with (
  fillfactor = 50,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 200,
  vacuum_truncate = off
);
comment on table tide.waiters is
  'Idle workers that listen. Whoever makes a run ready takes a row away and notifies its worker, so '
  'a busy system, where nobody waits, sends no NOTIFY.';
