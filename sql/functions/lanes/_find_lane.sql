create or replace function tide._find_lane(lane text)
returns tide.lanes
language plpgsql
stable
as $$
declare
  v_lane tide.lanes;
begin
  select l.*
  into v_lane
  from tide.lanes as l
  where l.lane = _find_lane.lane;
  if not found then
    v_lane.lane := lane;
  end if;
  return v_lane;
end;
$$;

comment on function tide._find_lane is 'A lane; one without limits where it was dropped.';
