create or replace function tide.drop_lane(lane text, actor text default null)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_actor constant text := tide._valid_note('actor', drop_lane.actor);
  v_old tide.lanes;
begin
  perform tide._require_read_committed('drop_lane');
  delete from tide.lanes as l
  where l.lane = drop_lane.lane
  returning l.* into v_old;
  if not found then
    return false;
  end if;
  perform tide._note_lane(v_old.lane, v_actor, v_old, null);
  delete from tide.lane_failures as f
  where f.lane = drop_lane.lane;
  delete from tide.turns as u
  where u.turn in (
    select o.turn
    from tide.turns as o
    where o.turn = 'lane ' || drop_lane.lane
    for update skip locked
  );
  delete from tide.lane_clocks as c
  where c.lane = drop_lane.lane;
  perform tide._wake_lane(drop_lane.lane);
  return true;
end;
$$;

comment on function tide.drop_lane is
  'Remove a lane; false = there was none. Its runs stay: from now on nothing limits them, and those that '
  'wait go on, a thousand at once and the others by upkeep.';
