create or replace function tide._valid_estimate(argument text, estimate jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_unit text;
  v_amount numeric;
begin
  if estimate is null or estimate in ('null', '{}') then
    return null;
  end if;
  if jsonb_typeof(estimate) <> 'object' then
    raise exception '% is not a JSON object: %', _valid_estimate.argument,
        left(_valid_estimate.estimate::text, 200)
      using errcode = '22023',
            hint = 'Give an amount for each unit, for example {"usd": 0.1}.';
  end if;
  for v_unit in
    select o.key
    from jsonb_object_keys(_valid_estimate.estimate) as o(key)
    order by o.key
  loop
    perform tide._valid_text(_valid_estimate.argument, v_unit, 128);
    v_amount := tide._option_number(
      format('%s.%s', _valid_estimate.argument, v_unit), _valid_estimate.estimate -> v_unit
    );
    if (v_amount > 0 and v_amount <= 1000000000000000) is not true then
      raise exception '%.% is out of range: %', _valid_estimate.argument, v_unit,
          left(coalesce(v_amount::text, 'null'), 200)
        using errcode = '22023',
              hint = 'Give more than 0, up to 1000000000000000; leave out what is not known.';
    end if;
  end loop;
  return estimate;
end;
$$;

comment on function tide._valid_estimate is
  'What a step is expected to use, an amount for each unit, or 22023; null for nothing.';
