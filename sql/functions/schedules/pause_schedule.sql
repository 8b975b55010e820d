create or replace function tide.pause_schedule(name text)
returns tide.schedules
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
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
  end if;
  return v_schedule;
end;
$$;

comment on function tide.pause_schedule is
  'Stop a schedule until resume_schedule; a declaration by set_schedule does not resume it.';
