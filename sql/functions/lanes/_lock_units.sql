-- First come, first served: whoever comes after a run that waits in the line gets nothing, so that many
-- small runs do not keep a large one waiting; but the probe of an open lane is any of them. What was used
-- beyond the shares of purses is locked once more in others and not used, so that claims beside this one
-- cannot use it either. Where many charges are settled their purse is locked too, so that nobody adds up
-- all of a period.
create or replace function tide._lock_units(
  lane text,
  lane_key text,
  units bigint,
  period interval,
  in_order boolean,
  asks tide.lane_asks[]
)
returns tide.lane_charges[]
language plpgsql
volatile
as $$
declare
  v_since constant timestamptz := tide._now() - _lock_units.period;
  v_count constant integer := tide._purse_count(_lock_units.lane_key);
  v_first tide.lane_waits;
  v_costs bigint[];
  v_wanted numeric;
  v_free numeric[];
  v_beyond numeric;
  v_many boolean[];
  v_locked bigint[] := array_fill(0::bigint, array[v_count]);
  v_spent numeric;
  v_left numeric := 0;
  v_owed bigint;
  v_part bigint;
  v_charge tide.lane_charges;
  v_charges tide.lane_charges[] := array[]::tide.lane_charges[];
begin
  v_first := (
    select w
    from tide.lane_waits as w
    where w.lane = _lock_units.lane
      and w.lane_key = _lock_units.lane_key
      and _lock_units.in_order
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1
  );
  select
    array_agg(least(coalesce(p.cost, 1), _lock_units.units) order by p.ask)
      filter (where p.ask < coalesce(b.behind, 2147483647)),
    sum(least(coalesce(p.cost, 1), _lock_units.units))
      filter (where p.ask < coalesce(b.behind, 2147483647))
  into v_costs, v_wanted
  from unnest(_lock_units.asks) with ordinality as p(
    place, run_id, hold_id, lane, lane_key, cost, ask
  )
  cross join (
    select min(o.ask) as behind
    from unnest(_lock_units.asks) with ordinality as o(
      place, run_id, hold_id, lane, lane_key, cost, ask
    )
    join tide.runs_active as a on a.run_id = o.run_id
    where tide._waits_before(v_first, a)
  ) as b;
  if v_costs is null then
    return v_charges;
  end if;

  select
    array_agg(tide._purse_share(_lock_units.units, _lock_units.lane_key, u.purse) - u.spent
      order by u.purse),
    coalesce(sum(-least(
      tide._purse_share(_lock_units.units, _lock_units.lane_key, u.purse) - u.spent, 0
    )), 0),
    array_agg(u.settled >= tide._many_charges() order by u.purse)
  into v_free, v_beyond, v_many
  from (
    select
      n.purse,
      coalesce(sum(c.units), 0) as spent,
      count(*) filter (where c.settled) as settled
    from generate_series(1, v_count) as n(purse)
    left join tide._charged(_lock_units.lane, _lock_units.lane_key, v_since) as c
      on c.purse = n.purse
    group by n.purse
  ) as u;
  v_left := -v_beyond;
  for v_purse in 1..v_count loop
    continue when (v_left >= v_wanted or v_free[v_purse] <= 0) and not v_many[v_purse];
    perform
    from tide.lane_purses as p
    where p.lane = _lock_units.lane
      and p.lane_key = _lock_units.lane_key
      and p.purse = v_purse
    for no key update skip locked;
    continue when not found;
    perform tide._fold_charges(
      _lock_units.lane, _lock_units.lane_key, v_purse, _lock_units.period, fold => v_many[v_purse]
    );
    -- In a statement of its own: it sees what the last who held the purse has charged.
    select coalesce(sum(c.units), 0)
    into v_spent
    from tide._charged(_lock_units.lane, _lock_units.lane_key, v_since) as c
    where c.purse = v_purse;
    v_locked[v_purse] := greatest(
      tide._purse_share(_lock_units.units, _lock_units.lane_key, v_purse) - v_spent, 0
    );
    v_left := v_left + v_locked[v_purse];
  end loop;

  v_charge.lane := _lock_units.lane;
  v_charge.lane_key := _lock_units.lane_key;
  for v_place in 1..cardinality(v_costs) loop
    v_owed := v_costs[v_place];
    exit when v_left < v_owed;
    v_left := v_left - v_owed;
    v_charge.run_id := (asks[v_place]).hold_id;
    for v_purse in 1..v_count loop
      exit when v_owed = 0;
      v_part := least(v_owed, v_locked[v_purse]);
      continue when v_part = 0;
      v_locked[v_purse] := v_locked[v_purse] - v_part;
      v_owed := v_owed - v_part;
      v_charge.purse := v_purse;
      v_charge.units := v_part;
      v_charges := v_charges || v_charge;
    end loop;
  end loop;
  return v_charges;
end;
$$;

comment on function tide._lock_units is
  'What the first of some runs, in claim order, take of a line of a lane, whose purses are locked for it: '
  'their costs, a greater one than all units as much as all. Nothing is written yet.';
