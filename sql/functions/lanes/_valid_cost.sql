create or replace function tide._valid_cost(
  lane text,
  lane_key text,
  cost numeric,
  prefix text default ''
)
returns bigint
language plpgsql
stable
as $$
declare
  v_lane tide.lanes;
  v_most bigint;
begin
  if cost is null then
    return null;
  elsif lane is null then
    raise exception '%cost is given without a lane: %',
        _valid_cost.prefix, left(_valid_cost.cost::text, 200)
      using errcode = '22023',
            hint = 'Give the lane too.';
  elsif (cost between 1 and 1000000000000 and cost = trunc(cost)) is not true then
    raise exception '%cost is no number of units: %',
        _valid_cost.prefix, left(_valid_cost.cost::text, 200)
      using errcode = '22023',
            hint = 'Give a whole number from 1 to 1000000000000.';
  end if;
  v_lane := (
    select l
    from tide.lanes as l
    where l.lane = _valid_cost.lane
  );
  v_most := least(v_lane.units, case when lane_key is not null then v_lane.units_per_key end);
  if cost > v_most then
    raise exception '%cost % is more than lane % ever allows: % units in %',
        _valid_cost.prefix, _valid_cost.cost, quote_literal(_valid_cost.lane), v_most, v_lane.period
      using errcode = '22023',
            detail = case
              when v_most = v_lane.units then 'That is the limit of the lane.'
              else 'That is the limit of each key.'
            end,
            hint = 'Divide the work among runs, or raise the limit with set_lane.';
  end if;
  return cost;
end;
$$;

comment on function tide._valid_cost is
  'The units a run costs in its lane; no whole number from 1 to 10^12, more than its lane or key is '
  'allowed in a period, or without a lane: 22023.';
