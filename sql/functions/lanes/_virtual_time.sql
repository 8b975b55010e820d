-- A lane where nothing stands in the order begins again at the time of day, so that beside other runs of its
-- queues it is as old as its oldest work; until the first is claimed only those that stand there tell.
create or replace function tide._virtual_time(lane text)
returns timestamptz
language plpgsql
volatile
as $$
declare
  v_turn_at timestamptz;
  v_first timestamptz;
begin
  select c.turn_at
  into v_turn_at
  from tide.lane_clocks as c
  where c.lane = _virtual_time.lane;
  select h.turn_at - interval '1 millisecond'
  into v_first
  from tide.lane_heads as h
  where h.lane = _virtual_time.lane
  order by h.turn_at
  limit 1;
  return greatest(v_turn_at, coalesce(v_first, tide._now()));
end;
$$;

comment on function tide._virtual_time is 'The virtual time of a fair lane now.';
