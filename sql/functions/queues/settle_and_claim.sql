create or replace function tide.settle_and_claim(
  outcomes jsonb,
  queues text[] default '{default}',
  max_runs integer default 1,
  lease interval default '60 seconds',
  worker text default null,
  workflows text[] default null,
  session_id uuid default null,
  holding uuid[] default null,
  ahead integer default 0
)
returns setof tide.settled
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
  v_max_runs constant integer := tide._valid_integer(
    'max_runs', settle_and_claim.max_runs, 0, 1000
  );
  v_ahead constant integer := tide._valid_integer('ahead', settle_and_claim.ahead, 0, 1000);
  v_exceptions constant tide.verdict[] := tide._settle(settle_and_claim.outcomes);
  v_exception tide.verdict;
  v_row tide.settled;
  v_run tide.runs;
begin
  foreach v_exception in array v_exceptions loop
    v_row.run_id := v_exception.run_id;
    v_row.accepted := v_exception.accepted;
    v_row.reason := v_exception.reason;
    return next v_row;
  end loop;
  if v_max_runs + v_ahead > 0 then
    foreach v_run in array tide._claim(
      settle_and_claim.queues,
      v_max_runs,
      settle_and_claim.lease,
      settle_and_claim.worker,
      settle_and_claim.workflows,
      settle_and_claim.session_id,
      settle_and_claim.holding,
      v_ahead
    ) loop
      -- One expression: a query around the array costs more than a claim of one run.
      return next (
        null,
        null,
        v_run.run_id,
        v_run.lease_id,
        v_run.workflow,
        v_run.queue,
        v_run.status,
        v_run.dedupe_key,
        v_run.priority,
        v_run.attempt,
        v_run.max_attempts,
        v_run.last_seq,
        v_run.slot,
        v_run.run_at,
        v_run.created_at,
        v_run.started_at,
        v_run.deadline_at,
        v_run.leased_until,
        v_run.lease,
        v_run.worker,
        v_run.input,
        v_run.metadata,
        v_run.budget,
        v_run.parent_id,
        v_run.forked_from,
        v_run
      )::tide.settled;
    end loop;
  end if;
end;
$$;

comment on function tide.settle_and_claim is
  'Settle outcomes and claim new runs in one transaction. A row with accepted set is an outcome that '
  'was not plainly accepted; a row with lease_id set is a new run. session_id and '
  'holding are those of claim. Up to ahead runs more are claimed where nothing limits them: of queues '
  'without a cap or a rate, and of no lane.';
