create or replace function tide._valid_integer(
  argument text,
  value bigint,
  low bigint,
  high bigint
)
returns integer
language plpgsql
immutable
parallel safe
as $$
begin
  if value between low and high then
    return value;
  end if;
  raise exception '% is out of range: %', _valid_integer.argument,
      coalesce(_valid_integer.value::text, 'null')
    using errcode = '22023',
          hint = format('Give a whole number from %s to %s.', low, high);
end;
$$;

comment on function tide._valid_integer is 'The value, or 22023 when it is null or out of range.';
