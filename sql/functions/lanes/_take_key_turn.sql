-- Keys are met, not set: the row of one is made under the turn of the lane, so that nobody waits for who
-- makes it beside this.
create or replace function tide._take_key_turn(lane text, lane_key text)
returns boolean
language plpgsql
volatile
as $$
begin
  perform
  from tide.lane_keys as k
  where k.lane = _take_key_turn.lane
    and k.lane_key = _take_key_turn.lane_key
  for no key update skip locked;
  if found then
    return true;
  elsif exists (
      select
      from tide.lane_keys as k
      where k.lane = _take_key_turn.lane
        and k.lane_key = _take_key_turn.lane_key
    )
    or not tide._take_turn('lane ' || lane)
  then
    return false;
  end if;
  insert into tide.lane_keys (lane, lane_key, looked_at)
  values (_take_key_turn.lane, _take_key_turn.lane_key, tide._now())
  on conflict on constraint lane_keys_pkey do nothing;
  return found;
end;
$$;

comment on function tide._take_key_turn is
  'Take the turn for bringing up runs of a key of a fair lane until the transaction ends; false = another '
  'has it.';
