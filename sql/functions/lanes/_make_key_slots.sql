-- Beside another claim that makes places of the lane they are missing for a moment, which only makes
-- this one pass the runs over: nobody waits here.
create or replace function tide._make_key_slots(lane text, lane_key text, per_key integer)
returns boolean
language plpgsql
volatile
as $$
declare
  v_made integer;
begin
  select count(*)
  into v_made
  from tide.lane_slots as s
  where s.lane = _make_key_slots.lane
    and s.lane_key = _make_key_slots.lane_key
    and s.slot <= _make_key_slots.per_key;
  if v_made = per_key or not tide._take_turn('lane ' || lane) then
    return false;
  end if;
  perform tide._fit_lane_slots(lane, lane_key, per_key);
  return true;
end;
$$;

comment on function tide._make_key_slots is
  'Make the places of a key that a claim lacks: keys are met, not set; false = none were made.';
