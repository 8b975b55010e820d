create or replace function tide._refuse_name(argument text, value text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  raise exception '% is not a valid name: %', _refuse_name.argument,
      coalesce(quote_literal(left(_refuse_name.value, 200)), 'null')
    using errcode = '22023',
          hint = 'Use 1 to 128 letters, digits and _ . : / @ - of ASCII, '
                 'the first a letter, a digit or _.';
end;
$$;

comment on function tide._refuse_name is
  '22023: the value names no queue, workflow or the like.';
