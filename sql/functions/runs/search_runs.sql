create or replace function tide.search_runs(
  filters jsonb default '{}',
  before uuid default null,
  max_runs integer default 50
)
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
begin
  return tide._list_found(
    tide._parse_run_filter(
      search_runs.filters,
      array[
        'status', 'waiting_on', 'queue', 'workflow', 'failure_class', 'created_after',
        'created_before', 'finished_after', 'finished_before', 'metadata', 'error', 'step',
        'fingerprint'
      ],
      search_runs.before
    ),
    search_runs.max_runs,
    true
  );
end;
$$;

comment on function tide.search_runs is
  'As find_runs, also by contained metadata, by text of the error and by fingerprint as of '
  'error_groups, with the beginning of each error.';
