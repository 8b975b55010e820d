create or replace function tide._without_scale(value jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  case jsonb_typeof(value)
    when 'number' then
      return to_jsonb(trim_scale(value::numeric));
    when 'object' then
      return (
        select coalesce(jsonb_object_agg(o.key, tide._without_scale(o.value)), '{}')
        from jsonb_each(_without_scale.value) as o(key, value)
      );
    when 'array' then
      return (
        select coalesce(
          jsonb_agg(tide._without_scale(e.element) order by e.ordinality),
          '[]'
        )
        from jsonb_array_elements(_without_scale.value) with ordinality as e(element, ordinality)
      );
    else
      return value;
  end case;
end;
$$;

comment on function tide._without_scale is 'The value with 1.0 as 1 and 1.50 as 1.5 throughout.';
