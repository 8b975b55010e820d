create or replace function tide._batch_argument(edge text, ordinal bigint)
returns text
language sql
immutable
parallel safe
as $$
select case
  when _batch_argument.edge is null
    then pg_catalog.format('runs[%s]', _batch_argument.ordinal operator(pg_catalog.-) 1)
  else pg_catalog.format('children[%s]', pg_catalog.to_jsonb(_batch_argument.edge))
end
$$;

comment on function tide._batch_argument is
  'How errors name an element of enqueue_many, by its place, or of spawn_many, by its edge.';
