-- In SQL, so that it is inlined. A bound such as {0,127} in the expression would cost twenty times
-- as much as the look at the length.
create or replace function tide._is_name(value text)
returns boolean
language sql
immutable
parallel safe
as $$
select pg_catalog.octet_length(_is_name.value) operator(pg_catalog.<=) 128
  and _is_name.value operator(pg_catalog.~) '^[A-Za-z0-9_][A-Za-z0-9_.:/@-]*$'
$$;

comment on function tide._is_name is 'Whether a text may name a queue, a workflow and the like.';
