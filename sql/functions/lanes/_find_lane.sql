create or replace function tide._find_lane(lane text)
returns tide.lanes
language plpgsql
stable
as $$
declare
  v_lane tide.lanes;
begin
  v_lane := (
    select l
    from tide.lanes as l
    where l.lane = _find_lane.lane
  );
  if v_lane.lane is null then
    v_lane.lane := lane;
  end if;
  return v_lane;
end;
$$;

comment on function tide._find_lane is 'A lane; one without limits where it was dropped.';
