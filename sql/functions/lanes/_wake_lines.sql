-- What an end that did not see a run being parked beside it left undone, and what was woken for queues
-- nobody claims from.
create or replace function tide._wake_lines(max_lines integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_line tide.lane_waits;
begin
  if not exists (
    select
    from tide.lane_waits as w
  ) then
    return 0;
  end if;
  select
    t.woken_lane,
    t.woken_lane_key
  into
    v_line.lane,
    v_line.lane_key
  from tide.ticks as t
  for no key update skip locked;
  if not found then
    return 0;
  end if;
  for v_round in 1..max_lines loop
    v_line := tide._wake_next_line(v_line.lane, v_line.lane_key);
    exit when v_line.lane is null;
  end loop;
  update tide.ticks as t
  set
    woken_lane = coalesce(v_line.lane, ''),
    woken_lane_key = coalesce(v_line.lane_key, '')
  where (t.woken_lane, t.woken_lane_key)
    <> (coalesce(v_line.lane, ''), coalesce(v_line.lane_key, ''));
  return 0;
end;
$$;

comment on function tide._wake_lines is
  'Wake runs of lanes that wait although there is room, of some lines after those of the last time.';
