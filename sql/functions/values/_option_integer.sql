create or replace function tide._option_integer(
  argument text,
  value jsonb,
  low bigint,
  high bigint
)
returns integer
language plpgsql
immutable
parallel safe
as $$
declare
  v_number constant numeric := tide._option_number(argument, value);
begin
  if v_number is null then
    return null;
  elsif v_number between low and high and v_number = trunc(v_number) then
    return v_number;
  end if;
  raise exception '% is out of range: %', _option_integer.argument, left(value::text, 200)
    using errcode = '22023',
          hint = format('Give a whole number from %s to %s.', low, high);
end;
$$;

comment on function tide._option_integer is
  'A whole number out of an options object; null passes, any other that does not fit is 22023.';
