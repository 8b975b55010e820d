create or replace function tide._parse_used(used jsonb, step text)
returns tide.usage[]
language plpgsql
volatile
as $$
declare
  v_list constant jsonb := case
    when jsonb_typeof(used) = 'object' then jsonb_build_array(used)
    else used
  end;
  v_element jsonb;
  v_usage tide.usage;
  v_list_cost_usd numeric;
  v_usages tide.usage[] := array[]::tide.usage[];
begin
  if used is null then
    return v_usages;
  end if;
  perform tide._valid_elements(
    'used',
    v_list,
    array[
      'kind', 'provider', 'model', 'label', 'quantity', 'unit', 'input_tokens', 'output_tokens',
      'total_tokens', 'cost_usd', 'metadata', 'request_key', 'list_cost_usd'
    ],
    1000
  );
  for v_element in
    select e.element
    from jsonb_array_elements(v_list) with ordinality as e(element, ordinality)
    order by e.ordinality
  loop
    begin
      v_usage := jsonb_populate_record(null::tide.usage, v_element);
      v_list_cost_usd := (v_element ->> 'list_cost_usd')::numeric;
    exception
      when data_exception then
        raise exception 'used holds an amount that cannot be read: %', left(v_element::text, 200)
          using errcode = '22023',
                detail = format('Postgres says: %s.', sqlerrm),
                hint = 'Give tokens as whole numbers, cost_usd and quantity as numbers.';
    end;
    v_usage.kind := coalesce(v_usage.kind, 'custom');
    v_usage.step := _parse_used.step;
    v_usages := v_usages || tide._valid_usage(v_usage, v_list_cost_usd);
  end loop;
  return v_usages;
end;
$$;

comment on function tide._parse_used is
  'What a step used, from one object or an array of objects with the keys of record_usage; or 22023 '
  'naming what is wrong.';
