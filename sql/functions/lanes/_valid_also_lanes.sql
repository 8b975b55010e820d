create or replace function tide._valid_also_lanes(
  queue text,
  lane text,
  also_lanes jsonb,
  prefix text default ''
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_argument constant text := prefix || 'also_lanes';
  v_lanes text[] := array[lane];
  v_other record;
  v_lane text;
  v_key text;
begin
  if coalesce(jsonb_typeof(also_lanes), 'null') = 'null' then
    return null;
  elsif lane is null then
    raise exception '% is given without a lane', v_argument
      using errcode = '22023',
            hint = 'Give the first of the lanes as lane.';
  end if;
  perform tide._valid_elements(
    v_argument, _valid_also_lanes.also_lanes, '{lane,lane_key,cost}', 4
  );
  for v_other in
    select
      format('%s[%s].', v_argument, e.ordinality - 1) as argument,
      e.element
    from jsonb_array_elements(_valid_also_lanes.also_lanes) with ordinality
      as e(element, ordinality)
    order by e.ordinality
  loop
    v_lane := tide._option_text(v_other.argument || 'lane', v_other.element -> 'lane', 128);
    v_key := tide._option_text(
      v_other.argument || 'lane_key', v_other.element -> 'lane_key', 256
    );
    if v_lane is null then
      raise exception '%lane is missing', v_other.argument
        using errcode = '22023',
              hint = 'Name the lane.';
    elsif v_lane = any (v_lanes) then
      raise exception '%lane is given twice: %', v_other.argument, quote_literal(v_lane)
        using errcode = '22023',
              hint = 'A run has one place in a lane, the first one included.';
    end if;
    perform tide._valid_lane(
      _valid_also_lanes.queue, v_lane, v_key, v_other.argument
    );
    perform tide._valid_cost(
      v_lane,
      v_key,
      tide._option_number(v_other.argument || 'cost', v_other.element -> 'cost'),
      v_other.argument
    );
    v_lanes := v_lanes || v_lane;
  end loop;
  return nullif(also_lanes, '[]');
end;
$$;

comment on function tide._valid_also_lanes is
  'The further lanes of a run to be made: an array of at most 4 objects of lane, lane_key and cost, each '
  'valid as the first one is; null or empty = none. One twice, or without a first one: 22023.';
