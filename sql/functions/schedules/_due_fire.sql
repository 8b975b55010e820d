create or replace function tide._due_fire(schedule tide.schedules, now timestamptz)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_fire timestamptz := schedule.next_fire_at;
  v_last constant timestamptz := tide._previous_fire(schedule, v_fire, _due_fire.now);
begin
  case schedule.misfire
    when 'one' then
      return v_last;
    when 'skip' then
      -- A minute late is not missed: somebody was there, and busy.
      return case when v_last > _due_fire.now - interval '1 minute' then v_last end;
    else
      for v_round in 1..100 loop
        v_fire := tide._next_fire(schedule.timing, v_fire, schedule.time_zone);
        if v_fire > v_last then
          return schedule.next_fire_at;
        end if;
      end loop;
      v_fire := v_last;
      for v_round in 1..99 loop
        v_fire := tide._previous_fire(
          schedule, schedule.next_fire_at, v_fire - interval '1 microsecond'
        );
      end loop;
      return v_fire;
  end case;
end;
$$;

comment on function tide._due_fire is
  'Which of its due times a schedule fires now, by its misfire policy; null = none of them.';
