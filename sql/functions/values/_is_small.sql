-- In SQL, so that it is inlined. 101 levels take 202 bytes, a number of 401 digits as many.
create or replace function tide._is_small(value jsonb)
returns boolean
language sql
immutable
parallel safe
as $$
select pg_catalog.octet_length(_is_small.value::pg_catalog.text) operator(pg_catalog.<=) 200
$$;

comment on function tide._is_small is
  'Whether a payload is too small to be too large, too deep or to hold too long a number.';
