create or replace function tide._now()
returns timestamptz
language sql
volatile
as $$
select pg_catalog.clock_timestamp()
$$;

comment on function tide._now is
  'The one clock of the schema: the database''s, read when asked, not when the transaction began.';
