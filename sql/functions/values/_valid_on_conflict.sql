create or replace function tide._valid_on_conflict(argument text, value jsonb)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if coalesce(value, 'null') in ('null', '"return"', '"replace"', '"raise"', '"cancel"') then
    return coalesce(value #>> '{}', 'return');
  end if;
  raise exception '% is not known: %', _valid_on_conflict.argument, left(value::text, 200)
    using errcode = '22023',
          hint = 'Give return, replace, raise or cancel.';
end;
$$;

comment on function tide._valid_on_conflict is
  'What to do about a taken dedupe key, out of an options object; null is return, another word 22023.';
