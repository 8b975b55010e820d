create or replace function tide._cost_in(run tide.runs, lane text)
returns bigint
language plpgsql
stable
as $$
begin
  if run.lane = _cost_in.lane then
    return coalesce(run.cost, 1);
  end if;
  return coalesce(
    (
      select max(o.cost)
      from tide.run_lanes as o
      where o.run_id = run.run_id
        and o.lane = _cost_in.lane
    ),
    1
  );
end;
$$;

comment on function tide._cost_in is 'How many units a run is expected to use in one of its lanes.';
