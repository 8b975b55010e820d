-- Contained in an array is, of numbers, texts and the like, to be one of its elements.
create or replace function tide._answer_problem(value jsonb, schema jsonb, place text)
returns text
language plpgsql
immutable
parallel safe
as $$
declare
  v_kind constant text := jsonb_typeof(value);
  v_types jsonb;
  v_problem text;
  v_part record;
begin
  if schema ? 'type' then
    v_types := case
      when jsonb_typeof(schema -> 'type') = 'array' then schema -> 'type'
      else jsonb_build_array(schema -> 'type')
    end;
    if not v_types ? v_kind
      and not (v_types ? 'integer' and v_kind = 'number' and value::numeric % 1 = 0)
    then
      return format('%s is %s and not %s', place, v_kind, tide._listed(v_types));
    end if;
  end if;
  if schema ? 'enum' and not (
    case
      when v_kind in ('object', 'array') then exists (
        select
        from jsonb_array_elements(_answer_problem.schema -> 'enum') as e(choice)
        where e.choice = _answer_problem.value
      )
      else schema -> 'enum' @> value
    end
  ) then
    return format('%s is none of %s', place, left((schema -> 'enum')::text, 200));
  elsif schema ? 'const' and schema -> 'const' <> value then
    return format('%s is not %s', place, left((schema -> 'const')::text, 200));
  elsif schema ? 'anyOf' and not exists (
    select
    from jsonb_array_elements(_answer_problem.schema -> 'anyOf') as o(schema)
    where tide._answer_problem(_answer_problem.value, o.schema, '') is null
  ) then
    return format('%s fits none of the forms it may have', place);
  end if;
  if v_kind = 'string' then
    return case
      when char_length(value #>> '{}') < (schema -> 'minLength')::numeric
        then format('%s is shorter than %s characters', place, schema -> 'minLength')
      when char_length(value #>> '{}') > (schema -> 'maxLength')::numeric
        then format('%s is longer than %s characters', place, schema -> 'maxLength')
    end;
  elsif v_kind = 'number' then
    return case
      when value::numeric < (schema -> 'minimum')::numeric
        then format('%s is below %s', place, schema -> 'minimum')
      when value::numeric > (schema -> 'maximum')::numeric
        then format('%s is above %s', place, schema -> 'maximum')
    end;
  elsif v_kind = 'array' then
    if jsonb_array_length(value) < (schema -> 'minItems')::numeric then
      return format('%s has fewer than %s elements', place, schema -> 'minItems');
    elsif jsonb_array_length(value) > (schema -> 'maxItems')::numeric then
      return format('%s has more than %s elements', place, schema -> 'maxItems');
    elsif schema ? 'items' then
      for v_part in
        select
          e.element,
          e.ordinal
        from jsonb_array_elements(_answer_problem.value) with ordinality as e(element, ordinal)
        order by e.ordinal
      loop
        v_problem := tide._answer_problem(
          v_part.element, schema -> 'items', format('%s[%s]', place, v_part.ordinal - 1)
        );
        exit when v_problem is not null;
      end loop;
      return v_problem;
    end if;
  elsif v_kind = 'object' then
    select format('%s.%s is missing', _answer_problem.place, k.key)
    into v_problem
    from jsonb_array_elements_text(coalesce(_answer_problem.schema -> 'required', '[]')) as k(key)
    where not _answer_problem.value ? k.key
    order by k.key
    limit 1;
    if found then
      return v_problem;
    end if;
    for v_part in
      select
        o.key,
        o.value
      from jsonb_each(_answer_problem.value) as o(key, value)
      order by o.key
    loop
      if schema -> 'properties' ? v_part.key then
        v_problem := tide._answer_problem(
          v_part.value,
          schema #> array['properties', v_part.key],
          format('%s.%s', place, left(v_part.key, 200))
        );
      elsif schema -> 'additionalProperties' = 'false' then
        v_problem := format('%s.%s is not asked for', place, left(v_part.key, 200));
      end if;
      exit when v_problem is not null;
    end loop;
    return v_problem;
  end if;
  return null;
end;
$$;

comment on function tide._answer_problem is
  'What is wrong with an answer, with its place, or null when it fits the schema.';
