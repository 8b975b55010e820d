create or replace function tide._return_more_lanes(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
declare
  v_other tide.run_lanes;
begin
  for v_other in
    select o.*
    from tide.run_lanes as o
    where o.run_id = any (_return_more_lanes.run_ids)
      and o.held
  loop
    update tide.run_lanes as o
    set
      held = false,
      lane_slot = null,
      lane_key_slot = null,
      units_left = null
    where o.run_id = v_other.run_id
      and o.step = v_other.step
      and o.lane = v_other.lane;
    perform tide._return_units(array[v_other.hold_id]);
    perform tide._free_places(
      array[
        (
          v_other.run_id, v_other.lane, v_other.lane_key, v_other.lane_slot, v_other.lane_key_slot
        )::tide.lane_holds
      ]
    );
  end loop;
end;
$$;

comment on function tide._return_more_lanes is
  'Take back what the caller holds in further lanes for runs that it does not start.';
