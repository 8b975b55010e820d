create or replace function tide._valid_schema(argument text, schema jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_key text;
  v_part jsonb;
  v_name text;
  v_right boolean;
begin
  perform tide._known_keys(
    argument,
    schema,
    array[
      'type', 'enum', 'const', 'anyOf', 'properties', 'required', 'additionalProperties', 'items',
      'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems', 'title',
      'description', 'default'
    ]
  );
  for v_key, v_part in
    select
      o.key,
      o.value
    from jsonb_each(_valid_schema.schema) as o(key, value)
    order by o.key
  loop
    v_name := format('%s.%s', argument, v_key);
    v_right := case
      when v_key in ('title', 'description') then jsonb_typeof(v_part) = 'string'
      when v_key in ('const', 'default') then true
      when v_key = 'type' then
        v_part <> '[]'
        and (
          case when jsonb_typeof(v_part) = 'array' then v_part else jsonb_build_array(v_part) end
        ) <@ '["null", "boolean", "integer", "number", "string", "array", "object"]'
      when v_key = 'additionalProperties' then jsonb_typeof(v_part) = 'boolean'
      when v_key in ('required', 'enum', 'anyOf') then case
        when jsonb_typeof(v_part) <> 'array' then false
        when jsonb_array_length(v_part) > 1000 then false
        when v_key = 'required'
          then not jsonb_path_exists(v_part, 'strict $[*] ? (@.type() != "string")')
        else v_part <> '[]'
      end
      when v_key in ('properties', 'items') then jsonb_typeof(v_part) = 'object'
      else jsonb_typeof(v_part) = 'number'
    end;
    if not v_right then
      raise exception '% is not valid: %', v_name, left(v_part::text, 200)
        using errcode = '22023',
              hint = 'Write it as JSON Schema does; lists have at most 1000 elements.';
    end if;
    case v_key
      when 'items' then
        perform tide._valid_schema(v_name, v_part);
      when 'properties' then
        perform tide._valid_schema(format('%s.%s', v_name, left(o.key, 200)), o.value)
        from jsonb_each(v_part) as o(key, value);
      when 'anyOf' then
        perform tide._valid_schema(v_name, e.element)
        from jsonb_array_elements(v_part) as e(element);
      else
        null;
    end case;
  end loop;
  return schema;
end;
$$;

comment on function tide._valid_schema is
  'A schema of answers in the subset of JSON Schema the database checks, or 22023 naming what it does '
  'not know.';
