create schema if not exists {schema};
comment on schema {schema} is
  '{purpose}, kept by tidebase-pg.';

create table if not exists {schema}.migrations (
  name text primary key,
  sha256 text not null,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table {schema}.migrations is
  'What was applied to this database; a migration whose sha256 differs is refused.';
