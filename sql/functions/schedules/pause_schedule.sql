create or replace function tide.pause_schedule(name text, actor text default null)
returns tide.schedules
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', pause_schedule.actor);
  v_schedule tide.schedules;
begin
  perform tide._require_schedule(pause_schedule.name);
  v_schedule := tide._lock_schedule(pause_schedule.name);
  if not v_schedule.paused then
    perform tide._drop_due_fires(v_schedule, tide._now());
    update tide.schedules as s
    set
      paused = true,
      updated_at = tide._now()
    where s.schedule = v_schedule.schedule
    returning s.* into v_schedule;
    perform tide._note_change(
      'schedule',
      v_schedule.schedule,
      v_schedule.queue,
      v_actor,
      '{"paused": false}',
      '{"paused": true}'
    );
  end if;
  return v_schedule;
end;
$$;

comment on function tide.pause_schedule is
  'Stop a schedule until resume_schedule; a declaration by set_schedule does not resume it.';
