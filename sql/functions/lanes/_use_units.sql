create or replace function tide._use_units(run tide.runs, usage tide.usage)
returns void
language plpgsql
volatile
as $$
declare
  v_used bigint;
  v_left bigint;
  v_other tide.run_lanes;
begin
  if run.units_left is not null then
    v_used := tide._counted_units(tide._find_lane(run.lane), usage);
    if v_used > 0 then
      update tide.runs_active as r
      set units_left = r.units_left - v_used
      where r.run_id = run.run_id
      returning r.units_left into v_left;
      perform tide._charge_beyond(run.lane, run.lane_key, run.run_id, least(v_used, -v_left));
    end if;
  end if;
  for v_other in
    select o.*
    from tide.run_lanes as o
    where o.run_id = run.run_id
      and o.units_left is not null
      and (o.step = '' or o.step = usage.step)
  loop
    v_used := tide._counted_units(tide._find_lane(v_other.lane), usage);
    continue when v_used = 0;
    update tide.run_lanes as o
    set units_left = o.units_left - v_used
    where o.run_id = v_other.run_id
      and o.step = v_other.step
      and o.lane = v_other.lane
    returning o.units_left into v_left;
    perform tide._charge_beyond(
      v_other.lane, v_other.lane_key, v_other.hold_id, least(v_used, -v_left)
    );
  end loop;
end;
$$;

comment on function tide._use_units is
  'Count what a run under way has used against what it, and the step that used it, have reserved in their '
  'lanes; what is beyond that is charged to the lines, also where they have nothing left.';
