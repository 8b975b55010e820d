-- Runs of a lane that is throttled or open take no place and stand in the line of the lane. Of the
-- others first the lines of the keys are asked, then those of the lanes, so a run its key keeps from
-- running takes no place of the lane; in each line first for a place, then for units. What is locked for
-- runs that take nothing in the end is free again at the commit.
create or replace function tide._take_lanes(
  run_ids uuid[],
  limited boolean,
  shut boolean,
  wanted integer
)
returns tide.admission
language plpgsql
volatile
as $$
declare
  v_shut text[];
  v_group record;
  v_place integer;
  v_places integer[];
  v_slots integer[];
  v_lane_slots integer[];
  v_key_slots integer[];
  -- The line that has no place for the run, by its place among those picked.
  v_lines text[];
  v_charged tide.lane_charges[];
  v_charges tide.lane_charges[] := array[]::tide.lane_charges[];
  v_taken tide.admission;
begin
  v_taken.run_ids := '{}';
  v_taken.lane_slots := '{}';
  v_taken.lane_key_slots := '{}';
  v_taken.units := '{}';
  v_taken.passed := '{}';
  v_taken.parked := 0;
  if not limited then
    v_taken.run_ids := run_ids[:wanted];
    v_taken.lane_slots := array_fill(null::integer, array[cardinality(v_taken.run_ids)]);
    v_taken.lane_key_slots := v_taken.lane_slots;
    v_taken.units := array_fill(null::bigint, array[cardinality(v_taken.run_ids)]);
    return v_taken;
  end if;
  if shut then
    v_shut := tide._shut_out(_take_lanes.run_ids);
  end if;
  for v_place in 1..cardinality(run_ids) loop
    v_lines[v_place] := case when v_shut[v_place] is not null then '' end;
  end loop;
  for v_group in
    select
      r.lane,
      g.of_keys,
      g.lane_key,
      g.most,
      l.adaptive_limit is not null and not g.of_keys as lowered,
      g.units,
      l.period,
      l.opened_at is null as in_order,
      array_agg(p.place order by p.place) as places
    from unnest(_take_lanes.run_ids) with ordinality as p(run_id, place)
    join tide.runs_active as r on r.run_id = p.run_id
    join tide.lanes as l on l.lane = r.lane
    cross join lateral (
      values
        (true, r.lane_key, l.per_key, l.units_per_key),
        (false, '', tide._line_most(l, ''), l.units)
    ) as g(of_keys, lane_key, most, units)
    where g.lane_key is not null
      and num_nonnulls(g.most, g.units) > 0
    group by
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      8
    order by
      2 desc,
      1,
      3
  loop
    v_places := array(
      select p.place
      from unnest(v_group.places) as p(place)
      where v_lines[p.place] is null
      order by p.place
    );
    if v_group.lowered and cardinality(v_places) > 0 then
      v_group.most := tide._raise_limit(v_group.lane);
    end if;
    if v_group.most is not null and cardinality(v_places) > 0 then
      if v_group.of_keys then
        perform tide._make_key_slots(v_group.lane, v_group.lane_key, v_group.most);
      end if;
      v_slots := tide._lock_lane_slots(
        v_group.lane, v_group.lane_key, v_group.most, cardinality(v_places)
      );
      for v_rank in 1..cardinality(v_places) loop
        v_place := v_places[v_rank];
        if v_group.of_keys then
          v_key_slots[v_place] := v_slots[v_rank];
        else
          v_lane_slots[v_place] := v_slots[v_rank];
        end if;
        v_lines[v_place] := case when v_slots[v_rank] is null then v_group.lane_key end;
      end loop;
      v_places := v_places[:cardinality(v_slots)];
    end if;
    continue when v_group.units is null or cardinality(v_places) = 0;
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
        select _take_lanes.run_ids[p.place]
        from unnest(v_places) as p(place)
        order by p.place
      )
    );
    v_charges := v_charges || v_charged;
    foreach v_place in array v_places loop
      if not tide._is_charged(v_charged, run_ids[v_place]) then
        v_lines[v_place] := v_group.lane_key;
      end if;
    end loop;
  end loop;

  for v_place in 1..cardinality(run_ids) loop
    exit when cardinality(v_taken.run_ids) = wanted;
    continue when v_lines[v_place] is not null;
    v_taken.run_ids := v_taken.run_ids || run_ids[v_place];
    v_taken.lane_slots := v_taken.lane_slots || v_lane_slots[v_place];
    v_taken.lane_key_slots := v_taken.lane_key_slots || v_key_slots[v_place];
    v_taken.units := v_taken.units || null::bigint;
  end loop;
  if num_nonnulls(variadic v_taken.lane_slots || v_taken.lane_key_slots) > 0 then
    perform tide._hold_lane_slots(v_taken);
  end if;
  if cardinality(v_charges) > 0 then
    v_taken := tide._charge_units(v_taken, v_charges);
  end if;

  if num_nonnulls(variadic v_lines) = 0 then
    return v_taken;
  end if;
  for v_group in
    select
      r.lane,
      v_lines[p.place] as lane_key,
      tide._line_most(l, v_lines[p.place]) as most,
      v_shut[p.place] as shut,
      array_agg(p.run_id order by p.place) as run_ids
    from unnest(_take_lanes.run_ids) with ordinality as p(run_id, place)
    join tide.runs_active as r on r.run_id = p.run_id
    join tide.lanes as l on l.lane = r.lane
    where v_lines[p.place] is not null
    group by
      1,
      2,
      3,
      4
    order by
      1,
      2
  loop
    if v_group.shut in ('lane', 'provider')
      or v_group.shut is null
      and (
        tide._count_held(v_group.lane, v_group.lane_key) >= v_group.most
        or tide._lacks_units(v_group.lane, v_group.lane_key, v_group.run_ids[1])
      )
    then
      perform tide._park_in_line(
        v_group.run_ids, v_group.lane_key, coalesce(v_group.shut, 'lane')
      );
      v_taken.parked := v_taken.parked + cardinality(v_group.run_ids);
    else
      -- A claim or a report under way has the place: whether it is taken is not known yet.
      v_taken.passed := v_taken.passed || v_group.run_ids;
    end if;
  end loop;
  return v_taken;
end;
$$;

comment on function tide._take_lanes is
  'Give picked runs places in their lanes, in claim order and to no more than are wanted, and park those '
  'whose line is full or has no units left, or whose lane is throttled or open.';
