create or replace function tide._option_boolean(argument text, value jsonb)
returns boolean
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or value = 'null' then
    return null;
  elsif value = 'true' then
    return true;
  elsif value = 'false' then
    return false;
  end if;
  raise exception '% is neither true nor false: %', _option_boolean.argument,
      left(value::text, 200)
    using errcode = '22023';
end;
$$;

comment on function tide._option_boolean is
  'A boolean out of an options object; null passes, anything else that is none is 22023.';
