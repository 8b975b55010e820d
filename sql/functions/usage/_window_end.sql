create or replace function tide._window_end(per text, time_zone text, began_at timestamptz)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if per = 'ever' then
    return null;
  elsif per in ('day', 'month') then
    return (began_at at time zone time_zone + ('1 ' || per)::interval) at time zone time_zone;
  end if;
  return began_at + extract(epoch from per::interval) * interval '1 second';
end;
$$;

comment on function tide._window_end is
  'When the window of an allowance ends that began at a time; null = never.';
