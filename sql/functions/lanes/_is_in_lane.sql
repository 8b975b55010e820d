create or replace function tide._is_in_lane(run tide.runs, lane text, lane_key text)
returns boolean
language plpgsql
stable
as $$
declare
  v_key text;
begin
  if run.lane is null then
    return false;
  elsif run.lane = _is_in_lane.lane then
    v_key := run.lane_key;
  else
    select o.lane_key
    into v_key
    from tide.run_lanes as o
    where o.run_id = run.run_id
      and o.step = ''
      and o.lane = _is_in_lane.lane;
    if not found then
      return false;
    end if;
  end if;
  if lane_key is not null and lane_key is distinct from v_key then
    raise exception 'run % is in lane % with another lane_key', run.run_id, quote_literal(lane)
      using errcode = '22023',
            detail = format('That of the run is %s.', coalesce(quote_literal(v_key), 'null')),
            hint = 'Leave lane_key out: a step has the place that its run has in a lane.';
  end if;
  return true;
end;
$$;

comment on function tide._is_in_lane is
  'Whether a run is in a lane by itself, so that its steps need no further place there; with another key '
  'than the one given: 22023.';
