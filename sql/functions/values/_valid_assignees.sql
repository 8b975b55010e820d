create or replace function tide._valid_assignees(argument text, value jsonb)
returns text[]
language plpgsql
immutable
parallel safe
as $$
begin
  if coalesce(value, 'null') = 'null' then
    return array[]::text[];
  elsif jsonb_typeof(value) <> 'array' or jsonb_array_length(value) not between 1 and 100 then
    raise exception '% is not a list of 1 to 100 actors: %', _valid_assignees.argument,
        left(value::text, 200)
      using errcode = '22023',
            hint = 'Give names of actors, or role:NAME for the members of a role.';
  end if;
  return array(
    select tide._option_text(_valid_assignees.argument, e.element, 256)
    from jsonb_array_elements(_valid_assignees.value) with ordinality as e(element, ordinal)
    order by e.ordinal
  );
end;
$$;

comment on function tide._valid_assignees is 'Who may decide a gate, out of its rules, or 22023.';
