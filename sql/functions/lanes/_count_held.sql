create or replace function tide._count_held(lane text, lane_key text, above integer default 0)
returns integer
language plpgsql
volatile
as $$
begin
  if lane_key = '' then
    return (
      select count(*)
      from tide.lane_slots as s
      where s.lane = _count_held.lane
        and s.lane_key = ''
        and s.slot > _count_held.above
        and s.run_id is not null
    ) + (
      select count(*)
      from tide.runs_active as r
      where r.lane = _count_held.lane
        and (r.status = 'running' or r.dispatched_until is not null)
        and r.lane_slot is null
    ) + (
      select count(*)
      from tide.run_lanes as o
      where o.lane = _count_held.lane
        and o.held
        and o.lane_slot is null
    );
  end if;
  return (
    select count(*)
    from tide.lane_slots as s
    where s.lane = _count_held.lane
      and s.lane_key = _count_held.lane_key
      and s.slot > _count_held.above
      and s.run_id is not null
  ) + (
    select count(*)
    from tide.runs_active as r
    where r.lane = _count_held.lane
      and r.lane_key = _count_held.lane_key
      and (r.status = 'running' or r.dispatched_until is not null)
      and r.lane_key_slot is null
  ) + (
    select count(*)
    from tide.run_lanes as o
    where o.lane = _count_held.lane
      and o.lane_key = _count_held.lane_key
      and o.held
      and o.lane_key_slot is null
  );
end;
$$;

comment on function tide._count_held is
  'How many runs and steps of a line of a lane run or are pushed: those in places above a number, and '
  'those without a place, because they were claimed when there was no limit.';
