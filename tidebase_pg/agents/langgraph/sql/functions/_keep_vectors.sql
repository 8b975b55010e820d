-- Dynamic: the table, and its type, are there only where vectors were asked for.
create or replace function tide_langgraph._keep_vectors(items jsonb)
returns void
language plpgsql
volatile
as $$
declare
  v_type constant text := tide_langgraph._vector_type();
begin
  if v_type is null then
    if jsonb_path_exists(_keep_vectors.items, '$[*].vectors[*]') then
      raise exception 'documents have vectors, and this database keeps none'
        using errcode = 'TD010',
              hint = 'Call setup of a store with dims and embed in its index, once.';
    end if;
    return;
  end if;
  execute format(
    $statement$
      with written as materialized (
        select x.*
        from jsonb_to_recordset($1) as x(namespace text[], key text, vectors text[])
      ), removed as (
        delete from tide_langgraph.vectors as v
        using written as w
        where v.namespace = w.namespace
          and v.key = w.key
          and v.place > coalesce(cardinality(w.vectors), 0)
      )
      insert into tide_langgraph.vectors as v (namespace, key, place, embedding)
      select
        w.namespace,
        w.key,
        e.place,
        e.embedding::%s
      from written as w
      cross join unnest(w.vectors) with ordinality as e(embedding, place)
      on conflict on constraint vectors_pkey do update
      set embedding = excluded.embedding
    $statement$,
    v_type
  )
  using _keep_vectors.items;
end;
$$;

comment on function tide_langgraph._keep_vectors is
  'What documents mean, [{"namespace", "key", "vectors"}], in place of what they meant before.';
