create or replace function tide._turn_length(lane text, lane_key text)
returns interval
language plpgsql
volatile
as $$
begin
  return interval '1 millisecond' / tide._weight(tide._find_lane(lane), lane_key);
end;
$$;

comment on function tide._turn_length is
  'How far a run of a key moves on the turns of the key, in the virtual time of its lane.';
