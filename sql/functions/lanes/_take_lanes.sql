create or replace function tide._take_lanes(
  run_ids uuid[],
  limited boolean,
  shut boolean,
  wanted integer,
  several boolean
)
returns tide.admission
language plpgsql
volatile
as $$
declare
  v_group record;
  v_asks tide.lane_asks[];
  v_answers tide.lane_answers;
  v_lines text[];
  -- The ask for the lane of its row, by the place of a run.
  v_own integer[];
  -- Arrays of their own, which are written in place.
  v_run_ids uuid[];
  v_lane_slots integer[];
  v_key_slots integer[];
  v_taken tide.admission;
begin
  v_taken.passed := '{}';
  v_taken.parked := 0;
  if not limited then
    v_taken.run_ids := run_ids[:wanted];
    if several then
      perform tide._hold_more_lanes(
        tide._lane_asks(v_taken.run_ids, several => true), v_answers, v_taken.run_ids
      );
    end if;
    return v_taken;
  end if;
  v_asks := tide._lane_asks(_take_lanes.run_ids, _take_lanes.several);
  v_answers := tide._ask_lanes(v_asks, _take_lanes.shut);
  v_lines := v_answers.lines;
  if v_lines is null
    and not several
    and cardinality(v_asks) = cardinality(run_ids)
    and cardinality(run_ids) <= wanted
  then
    -- Each has asked once and lacks nothing.
    v_run_ids := run_ids;
    v_lane_slots := v_answers.lane_slots;
    v_key_slots := v_answers.lane_key_slots;
  else
    for v_ask in 1..cardinality(v_asks) loop
      if (v_asks[v_ask]).hold_id = (v_asks[v_ask]).run_id then
        v_own[(v_asks[v_ask]).place] := v_ask;
      end if;
    end loop;

    for v_place in 1..cardinality(run_ids) loop
      exit when coalesce(cardinality(v_run_ids), 0) = wanted;
      continue when v_lines[v_place] is not null;
      v_run_ids := v_run_ids || run_ids[v_place];
      v_lane_slots := v_lane_slots || v_answers.lane_slots[v_own[v_place]];
      v_key_slots := v_key_slots || v_answers.lane_key_slots[v_own[v_place]];
    end loop;
  end if;
  v_taken.run_ids := coalesce(v_run_ids, '{}');
  v_taken.lane_slots := v_lane_slots;
  v_taken.lane_key_slots := v_key_slots;
  if num_nonnulls(variadic v_lane_slots || v_key_slots) > 0 then
    perform tide._hold_lane_slots(v_asks, v_answers, v_run_ids);
  end if;
  if cardinality(v_answers.charges) > 0 then
    v_taken := tide._charge_units(v_taken, v_answers.charges);
  end if;
  if several then
    perform tide._hold_more_lanes(v_asks, v_answers, v_taken.run_ids);
  end if;

  if v_lines is null then
    return v_taken;
  end if;
  for v_group in
    select
      a.lane,
      v_lines[a.place] as lane_key,
      tide._line_most(l, v_lines[a.place]) as most,
      v_answers.shut[a.ask] as shut,
      array_agg(a.run_id order by a.place) as run_ids
    from unnest(v_asks) with ordinality as a(place, run_id, hold_id, lane, lane_key, cost, ask)
    join tide.lanes as l on l.lane = a.lane
    where v_answers.lacking[a.place] = a.ask
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
        v_group.lane, v_group.run_ids, v_group.lane_key, coalesce(v_group.shut, 'lane')
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
  'Give picked runs places in all of their lanes, in claim order and to no more than are wanted, and park '
  'those that lack one: its line is full or has no units left, or its lane is throttled or open.';
