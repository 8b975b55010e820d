create or replace function tide._valid_choice(argument text, value text, choices text[])
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if value = any (choices) then
    return value;
  end if;
  raise exception '% is not known: %', _valid_choice.argument,
      coalesce(quote_literal(left(_valid_choice.value, 200)), 'null')
    using errcode = '22023',
          hint = format('Give one of %s.', array_to_string(choices, ', '));
end;
$$;

comment on function tide._valid_choice is 'The value, or 22023 when it is none of the choices.';
