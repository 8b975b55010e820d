create or replace function tide._lacks_units(lane text, lane_key text, run_id uuid)
returns boolean
language plpgsql
volatile
as $$
declare
  v_units constant bigint := tide._units_of(_lacks_units.lane, _lacks_units.lane_key);
begin
  if v_units is null then
    return false;
  end if;
  return (
    select
      least(tide._cost_in(r, _lacks_units.lane), v_units)
        > v_units - tide._units_used(_lacks_units.lane, _lacks_units.lane_key)
      or exists (
        select
        from tide.lane_waits as w
        where w.lane = _lacks_units.lane
          and w.lane_key = _lacks_units.lane_key
          and l.opened_at is null
          and tide._waits_before(w, r)
      )
    from tide.runs_active as r
    join tide.lanes as l on l.lane = _lacks_units.lane
    where r.run_id = _lacks_units.run_id
  );
end;
$$;

comment on function tide._lacks_units is
  'Whether a ready run has to wait for units of a line of a lane, or for a run that waits there before it.';
