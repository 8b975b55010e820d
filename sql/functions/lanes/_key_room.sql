create or replace function tide._key_room(lane text, lane_key text, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_limit constant integer := (tide._find_lane(_key_room.lane)).per_key;
begin
  if v_limit is null then
    return most;
  end if;
  return least(most, v_limit - tide._count_held(_key_room.lane, _key_room.lane_key));
end;
$$;

comment on function tide._key_room is
  'How many more runs of a key its lane lets run, at most most: more than these would only be parked again.';
