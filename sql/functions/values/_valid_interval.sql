create or replace function tide._valid_interval(
  argument text,
  value interval,
  low interval,
  high interval
)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  if value between low and high then
    -- In seconds: to a time with time zone, a day is as long as the session's zone makes it.
    return extract(epoch from value) * interval '1 second';
  end if;
  raise exception '% is out of range: %', _valid_interval.argument,
      coalesce(_valid_interval.value::text, 'null')
    using errcode = '22023',
          hint = format('Give an interval from %s to %s.', low, high);
end;
$$;

comment on function tide._valid_interval is
  'The value, a day of 24 hours, or 22023 when it is null or out of range.';
