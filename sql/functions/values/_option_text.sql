create or replace function tide._option_text(argument text, value jsonb, max_bytes integer)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value is null or value = 'null' then
    return null;
  elsif jsonb_typeof(value) = 'string' then
    return tide._valid_text(argument, value #>> '{}', max_bytes);
  end if;
  raise exception '% is not text: %', _option_text.argument, left(value::text, 200)
    using errcode = '22023';
end;
$$;

comment on function tide._option_text is
  'Text out of an options object; null passes, anything else that is none is 22023.';
