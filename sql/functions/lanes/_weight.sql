create or replace function tide._weight(lane tide.lanes, lane_key text)
returns integer
language sql
immutable
parallel safe
as $$
select coalesce(((_weight.lane).weights operator(pg_catalog.->>) _weight.lane_key)::integer, 1)
$$;

comment on function tide._weight is
  'How many turns a key has in a fair lane while a key of no weight has one.';
