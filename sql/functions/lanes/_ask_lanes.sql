-- Asks in lanes that are throttled or open take no place and stand in the line of the lane. Of the others
-- first the lines of the keys are asked, then those of the lanes, so a run its key keeps from running takes
-- no place of the lane; in each line first for a place, then for units. A run that lacks one place is asked
-- for no further one. What is locked for runs that take nothing in the end is free again at the commit.
create or replace function tide._ask_lanes(asks tide.lane_asks[], shut boolean)
returns tide.lane_answers
language plpgsql
volatile
as $$
declare
  v_group record;
  v_place bigint;
  v_left integer[];
  v_slots integer[];
  v_charged tide.lane_charges[];
  v_charges tide.lane_charges[];
  v_shut text[];
  -- Arrays of their own, which are written in place.
  v_lacking bigint[];
  v_lines text[];
  v_lane_slots integer[] := array_fill(null::integer, array[cardinality(asks)]);
  v_key_slots integer[] := array_fill(null::integer, array[cardinality(asks)]);
begin
  if shut then
    v_shut := tide._shut_out(_ask_lanes.asks);
    for v_ask in 1..cardinality(asks) loop
      v_place := (asks[v_ask]).place;
      if v_shut[v_ask] is not null and v_lines[v_place] is null then
        v_lines[v_place] := '';
        v_lacking[v_place] := v_ask;
      end if;
    end loop;
  end if;
  for v_group in
    select
      n.lane,
      not n.of_lane as of_keys,
      n.lane_key,
      tide._line_most(l, n.lane_key) as most,
      l.adaptive_limit is not null and n.of_lane as lowered,
      case when n.of_lane then l.units else l.units_per_key end as units,
      l.period,
      l.opened_at is null as in_order,
      n.asks
    from (
      select
        g.of_lane,
        a.lane,
        g.lane_key,
        array_agg(a.ask::integer order by a.ask) as asks
      from unnest(_ask_lanes.asks) with ordinality as a(
        place, run_id, hold_id, lane, lane_key, cost, ask
      )
      cross join lateral (
        values
          (false, a.lane_key),
          (true, '')
      ) as g(of_lane, lane_key)
      where g.lane_key is not null
      group by
        g.of_lane,
        a.lane,
        g.lane_key
    ) as n
    join tide.lanes as l on l.lane = n.lane
    where case
        when n.of_lane then num_nonnulls(l.total, l.units)
        else num_nonnulls(l.per_key, l.units_per_key)
      end > 0
    order by
      n.of_lane,
      n.lane,
      n.lane_key
  loop
    v_left := v_group.asks;
    if v_lines is not null then
      v_left := array(
        select n.ask
        from unnest(v_group.asks) as n(ask)
        where v_lines[(_ask_lanes.asks[n.ask]).place] is null
        order by n.ask
      );
    end if;
    if v_group.lowered and cardinality(v_left) > 0 then
      v_group.most := tide._raise_limit(v_group.lane);
    end if;
    if v_group.most is not null and cardinality(v_left) > 0 then
      v_slots := tide._lock_lane_slots(
        v_group.lane, v_group.lane_key, v_group.most, cardinality(v_left)
      );
      if v_group.of_keys and cardinality(v_slots) < cardinality(v_left) then
        if tide._make_key_slots(v_group.lane, v_group.lane_key, v_group.most) then
          v_slots := tide._lock_lane_slots(
            v_group.lane, v_group.lane_key, v_group.most, cardinality(v_left)
          );
        end if;
      end if;
      if cardinality(v_slots) = cardinality(asks) then
        -- All of the asks, in their order.
        if v_group.of_keys then
          v_key_slots := v_slots;
        else
          v_lane_slots := v_slots;
        end if;
        continue when v_group.units is null;
      end if;
      for v_rank in 1..cardinality(v_left) loop
        if v_group.of_keys then
          v_key_slots[v_left[v_rank]] := v_slots[v_rank];
        else
          v_lane_slots[v_left[v_rank]] := v_slots[v_rank];
        end if;
        if v_slots[v_rank] is null then
          v_place := (asks[v_left[v_rank]]).place;
          v_lines[v_place] := v_group.lane_key;
          v_lacking[v_place] := v_left[v_rank];
        end if;
      end loop;
      v_left := v_left[:cardinality(v_slots)];
    end if;
    continue when v_group.units is null or cardinality(v_left) = 0;
    if v_group.of_keys then
      perform tide._make_key_purses(v_group.lane, v_group.lane_key);
    end if;
    v_charged := tide._lock_units(
      v_group.lane,
      v_group.lane_key,
      v_group.units,
      v_group.period,
      v_group.in_order,
      array(
        select _ask_lanes.asks[n.ask]
        from unnest(v_left) as n(ask)
        order by n.ask
      )
    );
    v_charges := v_charges || v_charged;
    for v_rank in 1..cardinality(v_left) loop
      if not tide._is_charged(v_charged, (asks[v_left[v_rank]]).hold_id) then
        v_place := (asks[v_left[v_rank]]).place;
        v_lines[v_place] := v_group.lane_key;
        v_lacking[v_place] := v_left[v_rank];
      end if;
    end loop;
  end loop;
  return (
    v_lacking, v_lines, v_shut, v_lane_slots, v_key_slots, v_charges
  )::tide.lane_answers;
end;
$$;

comment on function tide._ask_lanes is
  'Lock places and units for runs that ask for them, as far as there are, and say what each run lacks. '
  'Nothing is written yet.';
