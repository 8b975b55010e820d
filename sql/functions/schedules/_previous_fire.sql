create or replace function tide._previous_fire(
  schedule tide.schedules,
  first timestamptz,
  until timestamptz
)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  v_low timestamptz := _previous_fire.first;
  v_high timestamptz := _previous_fire.until;
  v_step interval := interval '1 minute';
  v_middle timestamptz;
  v_fire timestamptz;
begin
  -- Back from the end in growing steps, since most often the last fire is near, then by halves.
  loop
    v_middle := greatest(v_low, _previous_fire.until - v_step);
    v_fire := tide._next_fire(schedule.timing, v_middle, schedule.time_zone);
    exit when v_fire <= _previous_fire.until or v_middle = v_low;
    v_high := v_middle;
    v_step := v_step * 2;
  end loop;
  if v_fire <= _previous_fire.until then
    v_low := v_fire;
  end if;
  while v_high - v_low > interval '1 minute' loop
    v_middle := v_low + (v_high - v_low) / 2;
    v_fire := tide._next_fire(schedule.timing, v_middle, schedule.time_zone);
    if v_fire <= _previous_fire.until then
      v_low := v_fire;
    else
      v_high := v_middle;
    end if;
  end loop;
  v_fire := tide._next_fire(schedule.timing, v_low, schedule.time_zone);
  return case when v_fire <= _previous_fire.until then v_fire else v_low end;
end;
$$;

comment on function tide._previous_fire is
  'The last fire of a schedule until a time, given an earlier one.';
