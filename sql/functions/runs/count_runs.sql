create or replace function tide.count_runs(filters jsonb default '{}', before uuid default null)
returns jsonb
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_found record;
begin
  select
    m.run_ids,
    m.stopped_at,
    m.looked
  into v_found
  from tide._match_runs(
    tide._parse_run_filter(
      count_runs.filters,
      array[
        'status', 'waiting_on', 'queue', 'workflow', 'failure_class', 'created_after',
        'created_before', 'finished_after', 'finished_before', 'metadata', 'error', 'step',
        'fingerprint'
      ],
      count_runs.before
    ),
    10000
  ) as m;
  return jsonb_build_object(
    'count', cardinality(v_found.run_ids),
    'newest', v_found.run_ids[1],
    'next', v_found.stopped_at,
    'looked', v_found.looked
  );
end;
$$;

comment on function tide.count_runs is
  'How many runs match the filters of search_runs among the newest 10000 of each partition; next = '
  'where to go on counting, null = that is all.';
