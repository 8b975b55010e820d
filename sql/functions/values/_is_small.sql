-- In SQL, so that it is inlined. 101 levels take 202 bytes, a number of 401 digits as many. What takes
-- more than 2000 bytes of storage has more than 200 of text, so the text of that is not made for this.
create or replace function tide._is_small(value jsonb)
returns boolean
language sql
stable
parallel safe
as $$
select pg_catalog.pg_column_size(_is_small.value) operator(pg_catalog.<=) 2000
  and pg_catalog.octet_length(_is_small.value::pg_catalog.text) operator(pg_catalog.<=) 200
$$;

comment on function tide._is_small is
  'Whether a payload is too small to be too large, too deep or to hold too long a number.';
