create or replace function tide._option_choices(argument text, value jsonb, choices text[])
returns text[]
language plpgsql
immutable
parallel safe
as $$
declare
  v_choice text;
  v_chosen text[] := array[]::text[];
begin
  if value is null or jsonb_typeof(value) = 'null' then
    return v_chosen;
  elsif jsonb_typeof(value) <> 'array' then
    raise exception '% is not a list: %', _option_choices.argument, left(value::text, 200)
      using errcode = '22023',
            hint = format('Give a list of %s.', array_to_string(choices, ', '));
  end if;
  for v_choice in
    select e.choice
    from jsonb_array_elements_text(_option_choices.value) as e(choice)
    order by e.choice
  loop
    v_chosen := v_chosen || tide._valid_choice(argument, v_choice, choices);
  end loop;
  return v_chosen;
end;
$$;

comment on function tide._option_choices is
  'A list of known words out of an options object; null is the empty list, an unknown word 22023.';
