create or replace function tide.fire_schedule(name text, key_hash bytea default null)
returns tide.schedule_fires
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_requester constant text := tide._acting(tide._acting_key(fire_schedule.key_hash));
  v_schedule tide.schedules;
  v_at timestamptz := tide._now();
  v_fire tide.schedule_fires;
begin
  perform tide._require_read_committed('fire_schedule');
  perform tide._require_schedule(fire_schedule.name, 'enqueue');
  v_schedule := tide._lock_schedule(fire_schedule.name);
  -- A whole second may be a time of the cron expression, whose fire would then be lost.
  if v_at = date_trunc('second', v_at) then
    v_at := v_at + interval '1 microsecond';
  end if;
  loop
    v_fire := tide._fire(v_schedule, v_at, 'by_hand', v_requester);
    exit when v_fire.run_id is not null;
    v_at := v_at + interval '1 microsecond';
  end loop;
  update tide.schedules as s
  set last_run_id = v_fire.run_id
  where s.schedule = v_schedule.schedule;
  return v_fire;
end;
$$;

comment on function tide.fire_schedule is
  'Enqueue a run of a schedule now, by hand, whether or not it is paused or an earlier run is '
  'active; its next time stays as it is. Who fires requests the run, with key_hash as enqueue. '
  'Unknown: TD010.';
