create or replace function tide._option_time(argument text, value jsonb)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(value) = 'string' then
    begin
      return (value #>> '{}')::timestamptz;
    exception
      when data_exception then
        null;
    end;
  end if;
  raise exception '% is not a time: %', _option_time.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give it as text with its zone, for example "2026-06-12 10:30:00+00".';
end;
$$;

comment on function tide._option_time is
  'A time out of an options object; null passes, anything else that is none is 22023.';
