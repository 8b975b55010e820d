create or replace function tide._leave_lane(
  run_id uuid,
  lane text,
  lane_key text,
  lane_slot integer,
  lane_key_slot integer
)
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.lane_waits as w
  where w.run_id = _leave_lane.run_id;
  if found then
    return;
  end if;
  update tide.lane_slots as s
  set run_id = null
  where s.lane = _leave_lane.lane
    and s.run_id = _leave_lane.run_id
    and (
      s.lane_key = '' and s.slot = _leave_lane.lane_slot
      or s.lane_key = _leave_lane.lane_key and s.slot = _leave_lane.lane_key_slot
    );
  -- Also where no place was held: the run may have been woken for one.
  perform tide._wake_line(_leave_lane.lane, '', 1);
  if lane_key is not null then
    perform tide._wake_line(_leave_lane.lane, _leave_lane.lane_key, 1);
  end if;
end;
$$;

comment on function tide._leave_lane is
  'Free the places a run held in its lane, or its place among those that wait, and wake the next.';
