create or replace function tide._window_start(per text, time_zone text, at timestamptz)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  v_seconds numeric;
begin
  if per = 'ever' then
    return timestamptz '-infinity';
  elsif per in ('day', 'month') then
    return date_trunc(per, at, time_zone);
  end if;
  v_seconds := extract(epoch from per::interval);
  return to_timestamp(0)
    + floor(extract(epoch from at) / v_seconds) * v_seconds * interval '1 second';
end;
$$;

comment on function tide._window_start is 'When the window of an allowance began that a time is in.';
