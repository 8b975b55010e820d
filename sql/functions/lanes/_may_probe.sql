-- A probe that ended in whatever way does not run any more: nobody has to say that its place is free.
-- The run that was woken to probe is waited for, but not for long: nobody may claim from its queue.
create or replace function tide._may_probe(lane tide.lanes, picked uuid[] default '{}')
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  return lane.probe_at <= v_now
    and not exists (
      select
      from tide.runs_active as r
      where r.run_id = _may_probe.lane.probe_id
        and r.run_id <> all (_may_probe.picked)
        and (
          r.lane = _may_probe.lane.lane
          or _may_probe.lane.lane = any (tide._more_lanes(array[r.run_id]))
        )
        and (
          r.status = 'running'
          or r.dispatched_until is not null
          or r.ready and _may_probe.lane.probed_at > v_now - interval '10 seconds'
        )
    );
end;
$$;

comment on function tide._may_probe is
  'Whether a run of an open lane, locked by the caller, may probe: it is time, and no other one does.';
