create or replace function tide._wake_lane(lane text)
returns void
language plpgsql
volatile
as $$
declare
  v_lane constant tide.lanes := tide._find_lane(_wake_lane.lane);
  v_line tide.lane_waits;
begin
  perform tide._wake_line(
    v_lane, '', coalesce(tide._line_most(v_lane, '') - tide._count_held(_wake_lane.lane, ''), 1000)
  );
  v_line.lane := lane;
  v_line.lane_key := '';
  for v_round in 1..100 loop
    v_line := tide._wake_next_line(v_line.lane, v_line.lane_key);
    exit when v_line.lane is distinct from _wake_lane.lane;
  end loop;
end;
$$;

comment on function tide._wake_lane is
  'Wake runs of a lane whose limits have changed: of a hundred keys, the others by upkeep.';
