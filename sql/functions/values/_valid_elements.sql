create or replace function tide._valid_elements(
  argument text,
  value jsonb,
  keys text[],
  max_elements integer
)
returns integer
language plpgsql
immutable
parallel safe
as $$
declare
  v_bad record;
begin
  if jsonb_typeof(value) is distinct from 'array'
    or jsonb_array_length(value) > max_elements
  then
    raise exception '% is not an array of at most % objects: %',
        _valid_elements.argument,
        max_elements,
        case jsonb_typeof(value)
          when 'array' then jsonb_array_length(value) || ' elements'
          else coalesce(left(value::text, 200), 'null')
        end
      using errcode = '22023';
  end if;
  select
    e.element,
    e.ordinal
  into v_bad
  from jsonb_array_elements(_valid_elements.value) with ordinality as e(element, ordinal)
  -- In this order: subtracting keys from anything but an object or array is an error of its own.
  where case
      when jsonb_typeof(e.element) = 'object' then (e.element - _valid_elements.keys) <> '{}'
      else true
    end
  order by e.ordinal
  limit 1;
  if found then
    perform tide._known_keys(format('%s[%s]', argument, v_bad.ordinal - 1), v_bad.element, keys);
  end if;
  return jsonb_array_length(value);
end;
$$;

comment on function tide._valid_elements is
  'How many objects the array has, or 22023 naming the first element that is none or has an unknown key.';
