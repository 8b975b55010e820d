-- Ends write only places of their own runs, and wait for no other.
create or replace function tide._free_places(
  holds tide.lane_holds[],
  completed boolean default false
)
returns void
language plpgsql
volatile
as $$
declare
  v_line record;
  v_lane tide.lanes;
  v_hold tide.lane_holds;
  v_placed boolean;
begin
  foreach v_hold in array holds loop
    v_placed := num_nonnulls(v_hold.lane_slot, v_hold.lane_key_slot) > 0;
    exit when v_placed;
  end loop;
  if v_placed then
    -- Each place counts for itself what completed in it, so that ends beside each other wait for none.
    update tide.lane_slots as s
    set
      run_id = null,
      round = coalesce(p.round, s.round),
      completed = case
        when s.round = p.round then s.completed + 1
        when p.round is not null then 1
        else s.completed
      end
    from (
      select
        h.run_id,
        h.lane,
        n.lane_key,
        n.slot,
        case
          when _free_places.completed and l.adaptive_limit is not null then l.adaptive_round
        end as round
      from unnest(_free_places.holds) as h
      left join tide.lanes as l on l.lane = h.lane
      cross join lateral (
        values
          ('', h.lane_slot),
          (h.lane_key, h.lane_key_slot)
      ) as n(lane_key, slot)
      where n.slot is not null
    ) as p
    where s.lane = p.lane
      and s.lane_key = p.lane_key
      and s.slot = p.slot
      and s.run_id = p.run_id;
  end if;
  -- Also where no place was held: the run may have been woken for one.
  for v_line in
    select
      g.lane,
      g.lane_key,
      g.runs,
      g.lane_key = '' and l.breaker_failures is not null as breaks
    from (
      select
        h.lane,
        n.lane_key,
        count(*)::integer as runs
      from unnest(_free_places.holds) as h
      cross join lateral (
        values
          (''),
          (h.lane_key)
      ) as n(lane_key)
      where n.lane_key is not null
      group by
        h.lane,
        n.lane_key
    ) as g
    left join tide.lanes as l on l.lane = g.lane
    where _free_places.completed
      and g.lane_key = ''
      and l.breaker_failures is not null
      or (
        -- Where nothing limits a key its runs wait for their turns only, which claims give.
        g.lane_key = ''
        or l.fair is null
        or num_nonnulls(l.per_key, l.units_per_key) > 0
        or (
          select h.run_id
          from tide.lane_heads as h
          where h.lane = g.lane
            and h.lane_key = g.lane_key
          order by h.turn_at
          limit 1
        ) is null
      )
      -- With exists the planner may read all that waits.
      and (
        select w.run_id
        from tide.lane_waits as w
        where w.lane = g.lane
          and w.lane_key = g.lane_key
        order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
        limit 1
      ) is not null
    order by
      g.lane,
      g.lane_key
  loop
    if v_lane.lane is distinct from v_line.lane then
      v_lane := tide._find_lane(v_line.lane);
    end if;
    if completed and v_line.breaks then
      perform tide._note_success(
        v_line.lane,
        array(
          select h.run_id
          from unnest(_free_places.holds) as h
          where h.lane = v_line.lane
        )
      );
    end if;
    perform tide._wake_line(v_lane, v_line.lane_key, v_line.runs);
  end loop;
end;
$$;

comment on function tide._free_places is
  'Free the places that runs and steps held in lanes, and wake as many as wait for them. completed = they '
  'ended well, which breakers and adaptive limits count.';
