create or replace function tide._cron_number(value text, low integer, names text[])
returns integer
language plpgsql
immutable
parallel safe
as $$
begin
  if value ~ '^[0-9]' then
    return value::integer;
  end if;
  return array_position(names, value) - 1 + low;
end;
$$;

comment on function tide._cron_number is
  'A number or name out of a cron field; null when there is no such name.';
