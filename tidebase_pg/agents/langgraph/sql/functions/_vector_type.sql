create or replace function tide_langgraph._vector_type()
returns text
language sql
stable
as $$
  select format('%I.%I', n.nspname, t.typname)
  from pg_catalog.pg_attribute as a
  join pg_catalog.pg_type as t on t.oid = a.atttypid
  join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
  where a.attrelid = to_regclass('tide_langgraph.vectors')
    and a.attname = 'embedding';
$$;

comment on function tide_langgraph._vector_type is
  'The type of vectors with its schema; null where none are kept.';
