create or replace function tide.settle_and_claim(
  outcomes jsonb,
  queues text[] default '{default}',
  max_runs integer default 1,
  lease interval default '60 seconds',
  worker text default null,
  workflows text[] default null,
  session_id uuid default null,
  holding uuid[] default null
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
  v_exceptions constant tide.verdict[] := tide._settle(settle_and_claim.outcomes);
  v_exception tide.verdict;
  v_row tide.settled;
begin
  foreach v_exception in array v_exceptions loop
    v_row.run_id := v_exception.run_id;
    v_row.accepted := v_exception.accepted;
    v_row.reason := v_exception.reason;
    return next v_row;
  end loop;
  if v_max_runs > 0 then
    return query
    select
      null::boolean,
      null::text,
      c.run_id,
      c.lease_id,
      c.workflow,
      c.queue,
      c.status,
      c.dedupe_key,
      c.priority,
      c.attempt,
      c.max_attempts,
      c.last_seq,
      c.slot,
      c.run_at,
      c.created_at,
      c.started_at,
      c.deadline_at,
      c.leased_until,
      c.lease,
      c.worker,
      c.input,
      c.metadata,
      c.budget,
      c.parent_id,
      c.forked_from,
      c
    from unnest(
      tide._claim(
        settle_and_claim.queues,
        v_max_runs,
        settle_and_claim.lease,
        settle_and_claim.worker,
        settle_and_claim.workflows,
        settle_and_claim.session_id,
        settle_and_claim.holding
      )
    ) as c;
  end if;
end;
$$;

comment on function tide.settle_and_claim is
  'Settle outcomes and claim new runs in one transaction. A row with accepted set is an outcome that '
  'was not plainly accepted; a row with lease_id set is a new run. session_id and '
  'holding are those of claim.';
