create or replace function tide._lowest_id()
returns uuid
language sql
immutable
parallel safe
as $$
select '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid
$$;

comment on function tide._lowest_id is 'The first_id of a floor below all runs of its time.';
