create or replace function tide._leave_lane(run_id uuid, lane text, lane_key text)
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.lane_heads as h
  where h.lane = _leave_lane.lane
    and h.lane_key = coalesce(_leave_lane.lane_key, '')
    and h.run_id = _leave_lane.run_id;
  if found and lane_key is not null then
    perform tide._bring_up_line(lane, lane_key, 1);
  end if;
  delete from tide.lane_waits as w
  where w.run_id = _leave_lane.run_id;
  if not found then
    perform tide._free_places(
      array[
        (_leave_lane.run_id, _leave_lane.lane, _leave_lane.lane_key, null, null)::tide.lane_holds
      ]
    );
  end if;
end;
$$;

comment on function tide._leave_lane is
  'Take a run that is not claimed out of its lane: give up its turn, and its place among those that wait or '
  'what it was woken for, and wake the next.';
