create or replace function tide._end_more_lanes(
  other tide.run_lanes,
  used bigint,
  completed boolean default false
)
returns void
language plpgsql
volatile
as $$
begin
  if other.step <> '' then
    delete from tide.run_lanes as o
    where o.run_id = other.run_id
      and o.step = other.step
      and o.lane = other.lane;
  elsif other.held then
    update tide.run_lanes as o
    set
      held = false,
      lane_slot = null,
      lane_key_slot = null,
      units_left = null
    where o.run_id = other.run_id
      and o.step = other.step
      and o.lane = other.lane;
  end if;
  if not other.held then
    return;
  end if;
  if other.units_left is not null then
    perform tide._settle_units(other.hold_id, _end_more_lanes.used);
  end if;
  perform tide._free_places(
    array[
      (
        other.run_id, other.lane, other.lane_key, other.lane_slot, other.lane_key_slot
      )::tide.lane_holds
    ],
    _end_more_lanes.completed
  );
end;
$$;

comment on function tide._end_more_lanes is
  'Give back what a run or a step holds in a lane that is not that of its row: used of its units stays '
  'charged, null = all. The lane of a step is then forgotten.';
