-- Of what several callers say the latest holds: who was told to wait a second does not end the hour
-- that another was told.
create or replace function tide._throttle_lane(lane text, until timestamptz, reason text)
returns void
language plpgsql
volatile
as $$
begin
  update tide.lanes as l
  set
    throttled_until = _throttle_lane.until,
    throttle_reason = _throttle_lane.reason
  where l.lane = _throttle_lane.lane
    and _throttle_lane.until > tide._now()
    and (l.throttled_until is null or l.throttled_until < _throttle_lane.until);
end;
$$;

comment on function tide._throttle_lane is
  'Let no run of a lane be claimed before a time, unless it is throttled for longer already. Several '
  'lanes are throttled in the order of their names.';
