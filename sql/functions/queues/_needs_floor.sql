-- A claim that looks for floors it does not find is a third cheaper than one that starts at a floor.
create or replace function tide._needs_floor(entries bigint)
returns boolean
language sql
stable
parallel safe
as $$
select _needs_floor.entries operator(pg_catalog.>) 100
  or not pg_catalog.current_setting('track_counts')::boolean
$$;

comment on function tide._needs_floor is
  'Whether claims should start at the first ready run, when this many entries of the index were read to '
  'find it; where Postgres does not count them, always.';
