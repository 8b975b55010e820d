-- Takes everything with skip locked, so it never waits and can be in no deadlock. One queue after
-- the other and rows by key: `queue = any (…)` would sort the backlog, a join with a limited query
-- may be planned as a hash join over all runs. The settings below keep plans from flipping.
create or replace function tide.claim(
  queues text[] default '{default}',
  max_runs integer default 1,
  lease interval default '60 seconds',
  worker text default null,
  workflows text[] default null,
  session_id uuid default null,
  holding uuid[] default null
)
returns setof tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_run tide.runs;
begin
  foreach v_run in array tide._claim(
    claim.queues,
    tide._valid_integer('max_runs', claim.max_runs, 1, 1000),
    claim.lease,
    claim.worker,
    claim.workflows,
    claim.session_id,
    claim.holding
  ) loop
    return next v_run;
  end loop;
end;
$$;

comment on function tide.claim is
  'Lease up to max_runs ready runs of the queues, in their order; never waits for another worker. '
  'Caps and rates are exact; paused queues and overdue runs are passed over. With '
  'session_id, a secret of the worker process, and holding, the runs it knows of, runs it was given '
  'before and does not know of come first.';
