create or replace function tide._known_keys(argument text, value jsonb, keys text[])
returns boolean
language plpgsql
immutable
parallel safe
as $$
declare
  v_unknown text;
begin
  if jsonb_typeof(value) is distinct from 'object' then
    raise exception '% is not a JSON object: %', _known_keys.argument,
        coalesce(left(value::text, 200), 'null')
      using errcode = '22023',
            hint = format('Give an object with any of the keys %s.', array_to_string(keys, ', '));
  end if;
  select o.key
  into v_unknown
  from jsonb_object_keys(_known_keys.value) as o(key)
  where o.key <> all (_known_keys.keys)
  order by o.key
  limit 1;
  if found then
    raise exception '% has an unknown key: %', _known_keys.argument,
        quote_literal(left(v_unknown, 200))
      using errcode = '22023',
            hint = format('Known keys are %s.', array_to_string(keys, ', '));
  end if;
  return true;
end;
$$;

comment on function tide._known_keys is
  'True, or 22023: an options object holds known keys only, so that a typing error is not ignored.';
