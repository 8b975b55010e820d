-- Runs of a throttled lane take no place and stand in the line of the lane. Of the others first the lines
-- of the keys are asked, then those of the lanes, so a run its key keeps from running takes no place of
-- the lane. What is locked for runs that take nothing in the end is free again at the commit.
create or replace function tide._take_lanes(run_ids uuid[], wanted integer)
returns tide.admission
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_group record;
  v_slots integer[];
  v_lane_slots integer[];
  v_key_slots integer[];
  -- The line that has no place for the run, by its place among those picked.
  v_lines text[];
  v_taken tide.admission;
begin
  v_taken.run_ids := '{}';
  v_taken.lane_slots := '{}';
  v_taken.lane_key_slots := '{}';
  v_taken.passed := '{}';
  v_taken.parked := 0;
  for v_group in
    select
      p.place
    from unnest(_take_lanes.run_ids) with ordinality as p(run_id, place)
    join tide.runs_active as r on r.run_id = p.run_id
    join tide.lanes as l on l.lane = r.lane
    where l.throttled_until > v_now
  loop
    v_lines[v_group.place] := '';
  end loop;
  for v_group in
    select
      r.lane,
      r.lane_key,
      l.per_key,
      array_agg(p.place order by p.place) as places
    from unnest(_take_lanes.run_ids) with ordinality as p(run_id, place)
    join tide.runs_active as r on r.run_id = p.run_id
    join tide.lanes as l on l.lane = r.lane
    where r.lane_key is not null
      and l.per_key is not null
      and v_lines[p.place] is null
    group by
      r.lane,
      r.lane_key,
      l.per_key
    order by
      r.lane,
      r.lane_key
  loop
    perform tide._make_key_slots(v_group.lane, v_group.lane_key, v_group.per_key);
    v_slots := tide._lock_lane_slots(
      v_group.lane, v_group.lane_key, v_group.per_key, cardinality(v_group.places)
    );
    for v_rank in 1..cardinality(v_group.places) loop
      v_key_slots[v_group.places[v_rank]] := v_slots[v_rank];
      v_lines[v_group.places[v_rank]] := case
        when v_slots[v_rank] is null then v_group.lane_key
      end;
    end loop;
  end loop;
  for v_group in
    select
      r.lane,
      l.total,
      array_agg(p.place order by p.place) as places
    from unnest(_take_lanes.run_ids) with ordinality as p(run_id, place)
    join tide.runs_active as r on r.run_id = p.run_id
    join tide.lanes as l on l.lane = r.lane
    where l.total is not null
      and v_lines[p.place] is null
    group by
      r.lane,
      l.total
    order by r.lane
  loop
    v_slots := tide._lock_lane_slots(
      v_group.lane, '', v_group.total, cardinality(v_group.places)
    );
    for v_rank in 1..cardinality(v_group.places) loop
      v_lane_slots[v_group.places[v_rank]] := v_slots[v_rank];
      v_lines[v_group.places[v_rank]] := case when v_slots[v_rank] is null then '' end;
    end loop;
  end loop;

  for v_place in 1..cardinality(run_ids) loop
    exit when cardinality(v_taken.run_ids) = wanted;
    continue when v_lines[v_place] is not null;
    v_taken.run_ids := v_taken.run_ids || run_ids[v_place];
    v_taken.lane_slots := v_taken.lane_slots || v_lane_slots[v_place];
    v_taken.lane_key_slots := v_taken.lane_key_slots || v_key_slots[v_place];
  end loop;
  perform tide._hold_lane_slots(v_taken);

  for v_group in
    select
      r.lane,
      v_lines[p.place] as lane_key,
      case when v_lines[p.place] = '' then l.total else l.per_key end as most,
      l.throttled_until > v_now as throttled,
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
    if v_group.throttled
      or tide._count_held(v_group.lane, v_group.lane_key) >= v_group.most
    then
      perform tide._park_in_line(v_group.run_ids, v_group.lane_key);
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
  'whose line is full or whose lane is throttled.';
