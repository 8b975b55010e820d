create or replace function tide.find_runs(
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
      find_runs.filters,
      array[
        'status', 'waiting_on', 'queue', 'workflow', 'failure_class', 'created_after',
        'created_before', 'finished_after', 'finished_before', 'step'
      ],
      find_runs.before
    ),
    find_runs.max_runs,
    false
  );
end;
$$;

comment on function tide.find_runs is
  'Runs without what they carry, newest first, by status, waiting_on, queue, workflow, failure_class, '
  'created_after, created_before, finished_after, finished_before and the step they failed at. Looks at '
  'a bounded number: looked_to says how far, next where to go on.';
