-- No text stands between a text and itself with the character 1 behind: the range is exact.
create or replace function tide_langgraph._below(prefix text[])
returns text[]
language sql
immutable
parallel safe
as $$
  select _below.prefix[: cardinality(_below.prefix) - 1]
    || (_below.prefix[cardinality(_below.prefix)] || chr(1));
$$;

comment on function tide_langgraph._below is
  'The end of the range of namespaces that begin with a prefix, which is not in it.';
