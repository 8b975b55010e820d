create or replace function tide._soon()
returns timestamptz
language sql
volatile
as $$
select tide._now() operator(pg_catalog.+) '40 seconds'::interval
$$;

comment on function tide._soon is
  'Idle workers are notified of what is due before this time; of later times they learn by looking.';
