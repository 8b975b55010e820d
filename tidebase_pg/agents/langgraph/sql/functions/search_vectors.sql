-- Dynamic: the type of vectors may be in any schema, or missing. An index of near vectors gives some;
-- without one, limit or not, all are compared.
create or replace function tide_langgraph.search_vectors(
  prefix text[],
  embedding text,
  conditions jsonb default '[]',
  max_items integer default 10,
  skip integer default 0,
  refresh boolean default true
)
returns table (
  namespace text[],
  key text,
  value text,
  created_at timestamptz,
  updated_at timestamptz,
  score double precision
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type constant text := tide_langgraph._vector_type();
  v_approximate constant boolean := to_regclass('tide_langgraph.vectors_near_idx') is not null;
  v_wanted constant bigint := search_vectors.max_items::bigint + search_vectors.skip;
  v_found record;
  v_namespaces jsonb := '[]';
  v_keys text[] := '{}';
begin
  if v_type is null then
    raise exception 'this database keeps no vectors'
      using errcode = 'TD010',
            hint = 'Call setup of a store with dims and embed in its index, once.';
  end if;
  if v_approximate then
    -- Goes on until enough meet the conditions; unknown before pgvector 0.8, which then finds fewer.
    perform set_config('hnsw.iterative_scan', 'strict_order', true);
  end if;
  for v_found in execute format(
    $statement$
      with near as materialized (
        select
          v.namespace,
          v.key,
          v.embedding operator(%2$s.<=>) $2::%1$s as distance
        from tide_langgraph.vectors as v
        join tide_langgraph.items as i
          on i.namespace = v.namespace
          and i.key = v.key
        where (i.expires_at is null or i.expires_at > clock_timestamp())
          and (
            cardinality($1) = 0
            or (v.namespace >= $1 and v.namespace < tide_langgraph._below($1))
          )
          and tide_langgraph._matches(i.value, $3)
        order by v.embedding operator(%2$s.<=>) $2::%1$s
        limit $6
      ), best as materialized (
        select
          n.namespace,
          n.key,
          1 - min(n.distance) as score
        from near as n
        group by n.namespace, n.key
      ), found as (
        select
          b.namespace,
          b.key,
          b.score
        from best as b
        union all
        select
          i.namespace,
          i.key,
          null
        from tide_langgraph.items as i
        where (select count(*) from best as b) < $4 + $5
          and (i.expires_at is null or i.expires_at > clock_timestamp())
          and (
            cardinality($1) = 0
            or (i.namespace >= $1 and i.namespace < tide_langgraph._below($1))
          )
          and tide_langgraph._matches(i.value, $3)
          and not exists (
            select
            from tide_langgraph.vectors as v
            where v.namespace = i.namespace
              and v.key = i.key
          )
      )
      select
        i.*,
        f.score
      from found as f
      join tide_langgraph.items as i
        on i.namespace = f.namespace
        and i.key = f.key
      order by f.score desc nulls last, i.updated_at desc, i.namespace, i.key
      limit $4
      offset $5
    $statement$,
    v_type,
    split_part(v_type, '.', 1)
  )
  using
    search_vectors.prefix,
    search_vectors.embedding,
    search_vectors.conditions,
    search_vectors.max_items,
    search_vectors.skip,
    case when v_approximate then 100 + 10 * v_wanted end
  loop
    namespace := v_found.namespace;
    key := v_found.key;
    value := v_found.value::text;
    created_at := v_found.created_at;
    updated_at := v_found.updated_at;
    score := v_found.score;
    return next;
    if search_vectors.refresh and v_found.expires_at is not null then
      v_namespaces := v_namespaces || jsonb_build_object('namespace', v_found.namespace);
      v_keys := v_keys || v_found.key;
    end if;
  end loop;
  if v_keys <> '{}' then
    perform tide_langgraph._refresh(v_namespaces, v_keys);
  end if;
end;
$$;

comment on function tide_langgraph.search_vectors is
  'Documents in and below a namespace that meet all conditions, [{"key", "operator", "operand"}], the '
  'nearest to a vector, "[1, 2]", first: score is the cosine of the nearest of their vectors. Those '
  'without vectors come last, without a score.';
