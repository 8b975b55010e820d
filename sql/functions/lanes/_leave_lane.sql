create or replace function tide._leave_lane(
  run_id uuid,
  lane text,
  lane_key text,
  lane_slot integer,
  lane_key_slot integer,
  completed boolean default false
)
returns void
language plpgsql
volatile
as $$
declare
  v_lane tide.lanes;
  v_counted boolean;
begin
  delete from tide.lane_waits as w
  where w.run_id = _leave_lane.run_id;
  if found then
    return;
  end if;
  v_lane := tide._find_lane(lane);
  -- The place of the run counts for it, so that ends beside each other wait for none.
  v_counted := completed and v_lane.adaptive_limit is not null;
  update tide.lane_slots as s
  set
    run_id = null,
    round = case when v_counted then v_lane.adaptive_round else s.round end,
    completed = case
      when v_counted and s.round = v_lane.adaptive_round then s.completed + 1
      when v_counted then 1
      else s.completed
    end
  where s.lane = _leave_lane.lane
    and s.run_id = _leave_lane.run_id
    and (
      s.lane_key = '' and s.slot = _leave_lane.lane_slot
      or s.lane_key = _leave_lane.lane_key and s.slot = _leave_lane.lane_key_slot
    );
  if completed and v_lane.breaker_failures is not null then
    perform tide._note_success(_leave_lane.lane, _leave_lane.run_id);
  end if;
  -- Also where no place was held: the run may have been woken for one.
  perform tide._wake_line(v_lane, '', 1);
  if lane_key is not null then
    perform tide._wake_line(v_lane, _leave_lane.lane_key, 1);
  end if;
end;
$$;

comment on function tide._leave_lane is
  'Free the places a run held in its lane, or its place among those that wait, and wake the next. '
  'completed = the run ended well, which its breaker and its adaptive limit count.';
