-- In SQL, so that it is inlined.
create or replace function tide._lies_apart(input jsonb)
returns boolean
language sql
stable
parallel safe
as $$
select pg_catalog.pg_column_size(_lies_apart.input) operator(pg_catalog.>) 1000
$$;

comment on function tide._lies_apart is
  'Whether an input is too large to travel with the row of its run, and so belongs in run_inputs.';
