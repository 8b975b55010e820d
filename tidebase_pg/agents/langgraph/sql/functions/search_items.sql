create or replace function tide_langgraph.search_items(
  prefix text[],
  query text default null,
  conditions jsonb default '[]',
  max_items integer default 10,
  skip integer default 0,
  refresh boolean default true,
  language text default 'simple'
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
  v_language constant regconfig := tide_langgraph._language(search_items.language);
  -- Any of the words will do; how many, and how near to each other, is the score.
  v_words constant tsquery :=
    replace(plainto_tsquery(v_language, search_items.query)::text, '&', '|')::tsquery;
  v_found record;
  v_namespaces jsonb := '[]';
  v_keys text[] := '{}';
begin
  for v_found in
    select
      i.namespace,
      i.key,
      i.value,
      i.created_at,
      i.updated_at,
      i.expires_at,
      case
        when search_items.query is not null
        then ts_rank_cd(coalesce(i.words, tide_langgraph._words(i.value, v_language)), v_words)
      end as score
    from tide_langgraph.items as i
    where (i.expires_at is null or i.expires_at > clock_timestamp())
      and (
        cardinality(search_items.prefix) = 0
        or (
          i.namespace >= search_items.prefix
          and i.namespace < tide_langgraph._below(search_items.prefix)
        )
      )
      and tide_langgraph._matches(i.value, search_items.conditions)
      and (
        search_items.query is null
        or i.words @@ v_words
        or (i.words is null and tide_langgraph._words(i.value, v_language) @@ v_words)
      )
    order by score desc nulls last, i.updated_at desc, i.namespace, i.key
    limit search_items.max_items
    offset search_items.skip
  loop
    namespace := v_found.namespace;
    key := v_found.key;
    value := v_found.value::text;
    created_at := v_found.created_at;
    updated_at := v_found.updated_at;
    score := v_found.score;
    return next;
    if search_items.refresh and v_found.expires_at is not null then
      v_namespaces := v_namespaces || jsonb_build_object('namespace', v_found.namespace);
      v_keys := v_keys || v_found.key;
    end if;
  end loop;
  if v_keys <> '{}' then
    perform tide_langgraph._refresh(v_namespaces, v_keys);
  end if;
end;
$$;

comment on function tide_langgraph.search_items is
  'Documents in and below a namespace that meet all conditions, [{"key", "operator", "operand"}], and hold '
  'a word of the query, the best first; without a query the newest first.';
