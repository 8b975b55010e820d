create or replace function tide._option_interval(argument text, value jsonb)
returns interval
language plpgsql
stable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(value) = 'string'
    and octet_length(value #>> '{}') between 1 and 100
    and value #>> '{}' !~ '[^0-9a-zA-Z :.+-]'
  then
    begin
      return extract(epoch from (value #>> '{}')::interval) * interval '1 second';
    exception
      when data_exception then
        null;
    end;
  end if;
  raise exception '% is not an interval: %', _option_interval.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give it as text, for example "90 seconds".';
end;
$$;

comment on function tide._option_interval is
  'An interval, a day of 24 hours, out of an options object; null passes, anything else that is none is '
  '22023.';
