create or replace function tide._leave_turn(run_id uuid, lane text, lane_key text)
returns void
language plpgsql
volatile
as $$
begin
  delete from tide.lane_heads as h
  where h.lane = _leave_turn.lane
    and h.lane_key = coalesce(_leave_turn.lane_key, '')
    and h.run_id = _leave_turn.run_id;
  if found and lane_key is not null then
    perform tide._bring_up_line(lane, lane_key, 1);
  end if;
end;
$$;

comment on function tide._leave_turn is
  'Give up the turn of a run of a fair lane that will not be claimed at it, and bring up the next of its '
  'key.';
