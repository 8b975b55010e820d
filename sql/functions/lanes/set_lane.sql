-- As with set_queue: claims under way end under the settings they read, without a lock.
create or replace function tide.set_lane(
  lane text,
  settings jsonb default '{}',
  actor text default null
)
returns tide.lanes
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_lane constant text := tide._valid_name('lane', set_lane.lane);
  v_actor constant text := tide._valid_note('actor', set_lane.actor);
  v_before tide.lanes;
  v_old tide.lanes;
  v_new tide.lanes;
  v_made boolean;
begin
  perform tide._require_read_committed('set_lane');
  perform tide._known_keys(
    'settings',
    set_lane.settings,
    array(
      select s.key
      from tide._lane_settings() as s
    )
  );
  insert into tide.lanes (lane)
  values (v_lane)
  on conflict on constraint lanes_pkey do nothing;
  v_made := found;
  insert into tide.turns (turn)
  values ('lane ' || v_lane)
  on conflict on constraint turns_pkey do nothing;
  select l.*
  into v_old
  from tide.lanes as l
  where l.lane = v_lane
  for no key update;
  v_new := jsonb_populate_record(
    v_old,
    (
      select jsonb_object_agg(
        s.key, tide._valid_setting(s.key, s.type, s.low, s.high, set_lane.settings -> s.key)
      )
      from tide._lane_settings() as s
      where set_lane.settings ? s.key
    )
  );
  update tide.lanes as l
  set
    total = v_new.total,
    per_key = v_new.per_key,
    updated_at = tide._now()
  where l.lane = v_lane
  returning l.* into v_new;
  if not v_made then
    v_before := v_old;
  end if;
  perform tide._note_lane(v_lane, v_actor, v_before, v_new);
  perform tide._fit_lane_slots(v_lane, '', v_new.total);
  perform tide._wake_lane(v_lane);
  return v_new;
end;
$$;

comment on function tide.set_lane is
  'Make a lane or change its settings: absent keys stay as they are, null clears. total = how many of '
  'its runs may run at once, per_key = how many with one lane_key. Limits hold for claims that begin '
  'after the commit; running runs are never stopped, they count.';
