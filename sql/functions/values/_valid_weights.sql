create or replace function tide._valid_weights(key text, value jsonb)
returns jsonb
language plpgsql
stable
as $$
declare
  v_weight record;
begin
  if jsonb_typeof(value) <> 'object' then
    raise exception '% is no object of keys and weights: %', _valid_weights.key,
        left(_valid_weights.value::text, 200)
      using errcode = '22023',
            hint = 'Give an object such as {"acme": 3}.';
  end if;
  if (
      select count(*)
      from jsonb_object_keys(_valid_weights.value) as k(lane_key)
    ) > 1000
  then
    raise exception '% has more than 1000 keys', _valid_weights.key
      using errcode = '22023',
            hint = 'A key that is not named weighs 1.';
  end if;
  for v_weight in
    select
      e.key as lane_key,
      e.value as weight
    from jsonb_each(_valid_weights.value) as e
    order by e.key
  loop
    perform tide._valid_text(key || ' key', v_weight.lane_key, 256);
    perform tide._option_integer(
      format('%s[%L]', key, left(v_weight.lane_key, 60)), v_weight.weight, 1, 100
    );
  end loop;
  return nullif(value, '{}');
end;
$$;

comment on function tide._valid_weights is
  'Weights of keys of a lane, 1 to 100 each, or 22023 naming the setting and the key; empty = null.';
