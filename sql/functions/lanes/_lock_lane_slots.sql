-- Runs that hold no place within the limit count until they end: for each of them a free place is
-- locked here and not used, so that claims beside this one cannot use it either.
create or replace function tide._lock_lane_slots(
  lane text,
  lane_key text,
  most integer,
  wanted integer
)
returns integer[]
language plpgsql
volatile
as $$
declare
  v_beyond constant integer := tide._count_held(
    _lock_lane_slots.lane, _lock_lane_slots.lane_key, above => _lock_lane_slots.most
  );
  v_slots integer[];
begin
  v_slots := array(
    select s.slot
    from tide.lane_slots as s
    where s.lane = _lock_lane_slots.lane
      and s.lane_key = _lock_lane_slots.lane_key
      and s.slot <= _lock_lane_slots.most
      and s.run_id is null
    order by s.slot
    limit _lock_lane_slots.wanted + v_beyond
    for no key update skip locked
  );
  return v_slots[:greatest(cardinality(v_slots) - v_beyond, 0)];
end;
$$;

comment on function tide._lock_lane_slots is
  'Lock free places in a line of a lane, as many as wanted or as there are.';
