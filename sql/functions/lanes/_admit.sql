-- In rounds, since parked runs make room for those behind them; bounded, so that a claim behind a
-- hundred thousand runs of a full line stays short: each of them is parked once, by some claim.
create or replace function tide._admit(
  queue text,
  reserved tide.reservation,
  picked tide.picked,
  max_runs integer,
  workflows text[]
)
returns tide.reservation
language plpgsql
volatile
as $$
declare
  v_reserved tide.reservation := reserved;
  v_picked tide.picked := picked;
  v_found integer;
  v_asked integer := _admit.max_runs;
  v_seen uuid[] := array[]::uuid[];
  v_parked integer := 0;
  v_fair boolean;
  v_limited boolean;
  v_shut boolean;
  v_lined uuid[];
  v_several boolean;
  v_taken tide.admission;
begin
  v_reserved.run_ids := null;
  loop
    v_found := cardinality(v_picked.run_ids);
    v_lined := null;
    select
      coalesce(bool_or(l.fair and l.lane = any (v_picked.lanes)), false),
      coalesce(
        bool_or(num_nonnulls(l.total, l.per_key, l.units, l.units_per_key) > 0),
        false
      ),
      coalesce(bool_or(num_nonnulls(l.throttled_until, l.opened_at) > 0), false),
      bool_or(m.lanes <> '{}')
    into v_fair, v_limited, v_shut, v_several
    from (
      select
        array(
          select o.lane
          from tide.run_lanes as o
          where o.run_id = any (v_picked.run_ids)
        ) as lanes
    ) as m
    left join tide.lanes as l on l.lane = any (v_picked.lanes || m.lanes);
    v_fair := v_fair and cardinality(v_picked.lanes) > coalesce(cardinality(v_picked.turns), 0);
    if v_reserved.run_ids is null and not (v_fair or v_limited or v_shut or v_several) then
      -- Nothing in their lanes keeps any of them.
      v_reserved.run_ids := v_picked.run_ids;
      v_reserved.turns := v_picked.turns;
      return v_reserved;
    end if;
    v_reserved.turns := v_reserved.turns || v_picked.turns;
    if v_fair then
      v_lined := tide._line_up(v_picked.run_ids);
      v_picked.run_ids := array(
        select p.run_id
        from unnest(v_picked.run_ids) with ordinality as p(run_id, place)
        where p.run_id <> all (v_lined)
        order by p.place
      );
      v_parked := v_parked + cardinality(v_lined);
    end if;
    v_taken := tide._take_lanes(
      v_picked.run_ids,
      v_limited or v_shut,
      v_shut,
      _admit.max_runs - coalesce(cardinality(v_reserved.run_ids), 0),
      several => v_several
    );
    v_reserved.run_ids := v_reserved.run_ids || v_taken.run_ids;
    v_reserved.lane_slots := v_reserved.lane_slots || coalesce(
      v_taken.lane_slots, array_fill(null::integer, array[cardinality(v_taken.run_ids)])
    );
    v_reserved.lane_key_slots := v_reserved.lane_key_slots || coalesce(
      v_taken.lane_key_slots, array_fill(null::integer, array[cardinality(v_taken.run_ids)])
    );
    v_reserved.units := v_reserved.units || coalesce(
      v_taken.units, array_fill(null::bigint, array[cardinality(v_taken.run_ids)])
    );
    v_seen := v_seen || v_taken.run_ids || v_taken.passed;
    v_parked := v_parked + v_taken.parked;
    exit when cardinality(v_reserved.run_ids) >= max_runs
      or v_found < v_asked and coalesce(cardinality(v_lined), 0) = 0
      or v_parked >= 1000
      or cardinality(v_seen) >= max_runs + 1000;
    -- Where many were in vain, many are looked at together.
    v_asked := greatest(
      _admit.max_runs - cardinality(v_reserved.run_ids),
      least(100, 2 * (v_taken.parked + cardinality(v_taken.passed)))
    );
    v_picked := tide._pick_ready(_admit.queue, v_asked, _admit.workflows, v_seen);
  end loop;
  -- An array that is null is not looked into for each run.
  if num_nonnulls(variadic v_reserved.lane_slots) = 0 then
    v_reserved.lane_slots := null;
  end if;
  if num_nonnulls(variadic v_reserved.lane_key_slots) = 0 then
    v_reserved.lane_key_slots := null;
  end if;
  if num_nonnulls(variadic v_reserved.units) = 0 then
    v_reserved.units := null;
  end if;
  return v_reserved;
end;
$$;

comment on function tide._admit is
  'The picked runs, and those behind them, that have a place in their lanes, with these places.';
