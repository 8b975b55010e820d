-- The answer to a claim may be lost, and the worker never learn what it was given. Who asks knows
-- the secret of the session, so the leases are its own.
create or replace function tide._leased_before(
  session_id uuid,
  holding uuid[],
  queues text[],
  max_runs integer,
  lease interval
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_run_ids uuid[];
  v_runs tide.runs[];
begin
  if cardinality(holding) > 10000 or array_ndims(holding) > 1 then
    raise exception 'holding is not a list of at most 10000 run ids: % given', cardinality(holding)
      using errcode = '22023';
  end if;
  v_run_ids := array(
    select r.run_id
    from tide.runs_active as r
    where r.status = 'running'
      and r.queue = any (_leased_before.queues)
      and r.session_id = _leased_before.session_id
      and r.run_id <> all (_leased_before.holding)
    order by r.run_id
    limit _leased_before.max_runs
    for no key update skip locked
  );
  with renewed as (
    update tide.runs_active as r
    set
      lease = _leased_before.lease,
      leased_until = tide._now() + _leased_before.lease
    where r.run_id = any (v_run_ids)
    returning r::tide.runs as run
  )
  select coalesce(array_agg(tide._with_input(n.run)), '{}')
  into v_runs
  from renewed as n;
  return v_runs;
end;
$$;

comment on function tide._leased_before is
  'Running runs leased under a session that its worker does not hold, their leases renewed.';
