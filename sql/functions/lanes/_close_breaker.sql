create or replace function tide._close_breaker(lane tide.lanes, actor text)
returns tide.lanes
language plpgsql
volatile
as $$
declare
  v_lane tide.lanes;
begin
  delete from tide.lane_failures as f
  where f.lane = _close_breaker.lane.lane
    and f.failure_id = any (
      array(
        select o.failure_id
        from tide.lane_failures as o
        where o.lane = _close_breaker.lane.lane
        for update skip locked
      )
    );
  update tide.lanes as l
  set
    opened_at = null,
    probe_at = null,
    probe_id = null,
    probed_at = null,
    probes = 0
  where l.lane = _close_breaker.lane.lane
  returning l.* into v_lane;
  perform tide._note_lane(v_lane.lane, _close_breaker.actor, lane, v_lane);
  -- The others by upkeep: whoever closes it is in the middle of something else.
  perform tide._wake_line(v_lane, '', 100);
  return v_lane;
end;
$$;

comment on function tide._close_breaker is
  'Close the breaker of a lane, locked by the caller, and let the first of its runs go on.';
