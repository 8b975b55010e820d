create or replace function tide._drop_due_fires(schedule tide.schedules, until timestamptz)
returns void
language plpgsql
volatile
as $$
declare
  v_fire timestamptz := schedule.next_fire_at;
  v_last timestamptz;
  v_fires integer := 0;
begin
  if not schedule.enabled or schedule.paused or v_fire > _drop_due_fires.until then
    return;
  end if;
  v_last := tide._previous_fire(schedule, v_fire, _drop_due_fires.until);
  while v_fire <= v_last and v_fires < 1000 loop
    v_fires := v_fires + 1;
    v_fire := tide._next_fire(schedule.timing, v_fire, schedule.time_zone);
  end loop;
  insert into tide.schedule_fires (schedule, fire_at, outcome, fires, last_at, created_at)
  values (
    schedule.schedule, schedule.next_fire_at, 'missed', v_fires, v_last, tide._now()
  )
  on conflict on constraint schedule_fires_pkey do nothing;
end;
$$;

comment on function tide._drop_due_fires is
  'Write into the ledger that fires of a locked schedule, due until a time, were missed.';
