create or replace function tide._valid_name(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if tide._is_name(value) then
    return value;
  end if;
  raise exception '% is not a valid name: %', _valid_name.argument,
      coalesce(quote_literal(left(_valid_name.value, 200)), 'null')
    using errcode = '22023',
          hint = 'Use 1 to 128 letters, digits and _ . : / - of ASCII, '
                 'the first a letter, a digit or _.';
end;
$$;

comment on function tide._valid_name is
  'The value, or 22023: names of queues and workflows are short, printable and ASCII.';
