create or replace function tide._option_number(argument text, value jsonb)
returns numeric
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return null;
  end if;
  if jsonb_typeof(value) = 'number' then
    return value::numeric;
  end if;
  raise exception '% is not a number: %', _option_number.argument, left(value::text, 200)
    using errcode = '22023';
end;
$$;

comment on function tide._option_number is
  'A number out of an options object; null passes, anything else that is none is 22023.';
