-- More and more is looked at until a page is full: most pages are, by the newest few.
create or replace function tide._list_found(
  filter tide.run_filter,
  max_runs integer,
  errors boolean
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_limit constant integer := tide._valid_integer('max_runs', _list_found.max_runs, 1, 200);
  v_look integer;
  v_found record;
  v_next uuid;
begin
  foreach v_look in array array[300, 5000] loop
    select
      m.run_ids,
      m.stopped_at,
      m.looked
    into v_found
    from tide._match_runs(_list_found.filter, v_look) as m;
    exit when v_found.stopped_at is null or cardinality(v_found.run_ids) > v_limit;
  end loop;
  v_next := case
    when cardinality(v_found.run_ids) > v_limit then v_found.run_ids[v_limit]
    else v_found.stopped_at
  end;
  return jsonb_build_object(
    'runs', tide._outline_runs(v_found.run_ids[:v_limit], _list_found.errors),
    'next', v_next,
    'looked', v_found.looked,
    'looked_to', (
      select r.created_at
      from tide.runs as r
      where r.run_id = v_next
        and cardinality(v_found.run_ids) <= v_limit
    )
  );
end;
$$;

comment on function tide._list_found is
  'A page of the runs that match: runs, next = the run_id to go on before, looked = how many runs were '
  'looked at, looked_to = how far back when the page is not full.';
