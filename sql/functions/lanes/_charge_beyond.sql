-- In any purse: what is beyond its share is kept free in the others.
create or replace function tide._charge_beyond(
  lane text,
  lane_key text,
  holder_id uuid,
  units bigint
)
returns void
language plpgsql
volatile
as $$
declare
  v_lane constant tide.lanes := tide._find_lane(_charge_beyond.lane);
begin
  if units <= 0 then
    return;
  end if;
  insert into tide.lane_charges (lane, lane_key, purse, charged_at, run_id, units, open)
  select
    v_lane.lane,
    k.lane_key,
    1,
    tide._now(),
    _charge_beyond.holder_id,
    _charge_beyond.units,
    true
  from unnest(
    array['', _charge_beyond.lane_key], array[v_lane.units, v_lane.units_per_key]
  ) as k(lane_key, units)
  where k.lane_key is not null
    and k.units is not null;
end;
$$;

comment on function tide._charge_beyond is
  'Charge what a run or a hold used beyond its cost to the lines of its lane that count units; 0 or less = '
  'nothing.';
