create or replace function tide.resume_schedule(name text, actor text default null)
returns tide.schedules
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', resume_schedule.actor);
  v_now constant timestamptz := tide._now();
  v_schedule tide.schedules;
begin
  perform tide._require_schedule(resume_schedule.name);
  v_schedule := tide._lock_schedule(resume_schedule.name);
  if v_schedule.paused then
    update tide.schedules as s
    set
      paused = false,
      next_fire_at = tide._next_fire(s.timing, v_now, s.time_zone),
      updated_at = v_now
    where s.schedule = v_schedule.schedule
    returning s.* into v_schedule;
    perform tide._note_change(
      'schedule',
      v_schedule.schedule,
      v_schedule.queue,
      v_actor,
      '{"paused": true}',
      '{"paused": false}'
    );
    perform tide._wake_workers(v_schedule.queue, 1);
  end if;
  return v_schedule;
end;
$$;

comment on function tide.resume_schedule is
  'Let a paused schedule go on with its next time; what fell into the pause is not made up for.';
