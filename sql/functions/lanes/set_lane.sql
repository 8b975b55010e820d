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
  v_old := (
    select l
    from tide.lanes as l
    where l.lane = v_lane
    for no key update
  );
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
  perform tide._require_breaker(v_new);
  perform tide._require_adaptive(v_new);
  update tide.lanes as l
  set
    total = v_new.total,
    per_key = v_new.per_key,
    adaptive = nullif(v_new.adaptive, false),
    adaptive_min = v_new.adaptive_min,
    adaptive_limit = case
      when v_new.adaptive and l.adaptive_limit < v_new.total
        then nullif(greatest(l.adaptive_limit, v_new.adaptive_min), v_new.total)
    end,
    adaptive_round = case when v_new.adaptive then l.adaptive_round end,
    cut_at = case when v_new.adaptive then l.cut_at end,
    breaker_failures = v_new.breaker_failures,
    breaker_classes = v_new.breaker_classes,
    breaker_delay = v_new.breaker_delay,
    breaker_max_delay = v_new.breaker_max_delay,
    fair = nullif(v_new.fair, false),
    weights = v_new.weights,
    units = v_new.units,
    units_per_key = v_new.units_per_key,
    period = coalesce(v_new.period, '1 minute'),
    unit = v_new.unit,
    updated_at = tide._now()
  where l.lane = v_lane
  returning l.* into v_new;
  if not v_made then
    v_before := v_old;
  end if;
  perform tide._note_lane(v_lane, v_actor, v_before, v_new);
  if v_old.breaker_failures is not null and v_new.breaker_failures is null then
    v_new := tide._close_breaker(v_new, v_actor);
  end if;
  if v_new.fair then
    insert into tide.lane_clocks (lane, turn_at)
    values (v_lane, tide._now())
    on conflict on constraint lane_clocks_pkey do nothing;
  end if;
  perform tide._fit_lane_slots(v_lane, '', v_new.total);
  if v_new.units is not null then
    perform tide._make_purses(v_lane, '');
  end if;
  perform tide._wake_lane(v_lane);
  return v_new;
end;
$$;

comment on function tide.set_lane is
  'Make a lane or change its settings: absent keys stay as they are, null clears. total = how many of '
  'its runs may run at once, per_key = how many with one lane_key. adaptive = total is halved, to no less '
  'than adaptive_min, default 1, when a run is refused, and rises again by one as often as so many runs '
  'completed. units = how many units they may use '
  'within any period (default 1 minute), units_per_key = those with one lane_key; unit = what of '
  'record_usage counts as used, such as tokens. After breaker_failures in a row of '
  'breaker_classes, types of errors or failure classes, it opens: none is claimed, and after '
  'breaker_delay, 30 seconds, one probes; a probe that fails so doubles it, to breaker_max_delay, 10 '
  'minutes. fair = its keys are served in turn, those in weights, an object, so many times while others '
  'are served once. Settings hold for claims that begin after the commit; running runs are never stopped, '
  'they count.';
