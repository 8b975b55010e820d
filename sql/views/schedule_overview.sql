create or replace view tide.schedule_overview
with (security_barrier = true) as
select
  s.schedule,
  s.cron,
  s.time_zone,
  s.workflow,
  s.queue,
  s.misfire,
  s.overlap,
  s.enabled,
  s.paused,
  s.next_fire_at,
  s.last_fire_at,
  s.last_run_id,
  s.updated_at
from tide.schedules as s;

comment on view tide.schedule_overview is 'Schedules without input and metadata.';
