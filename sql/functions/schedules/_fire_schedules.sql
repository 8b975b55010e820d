create or replace function tide._fire_schedules(names text[])
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_schedule tide.schedules;
  v_fire timestamptz;
  v_fired tide.schedule_fires;
begin
  for v_schedule in
    select s.*
    from tide.schedules as s
    where s.schedule = any (_fire_schedules.names)
  loop
    v_fired := null;
    v_fire := tide._due_fire(v_schedule, v_now);
    perform tide._drop_due_fires(
      v_schedule, coalesce(v_fire - interval '1 microsecond', v_now)
    );
    if v_fire is not null then
      v_fired := tide._fire(v_schedule, v_fire, 'enqueued', v_schedule.requested_by);
    end if;
    update tide.schedules as s
    set
      next_fire_at = tide._next_fire(s.timing, coalesce(v_fire, v_now), s.time_zone),
      last_fire_at = coalesce(v_fire, s.last_fire_at),
      last_run_id = coalesce(v_fired.run_id, s.last_run_id)
    where s.schedule = v_schedule.schedule;
  end loop;
  return cardinality(names);
end;
$$;

comment on function tide._fire_schedules is
  'Fire due schedules, locked by the caller, once each, and move them on to their next time.';
