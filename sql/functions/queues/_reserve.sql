-- Runs that hold no slot of the cap, because they were claimed under other settings, count until
-- they end: for each of them a free slot is locked here and not used, so that claims beside this
-- one cannot use it either.
create or replace function tide._reserve(
  queue text,
  settings tide.queues,
  max_runs integer,
  workflows text[],
  push boolean,
  ahead integer default 0
)
returns tide.reservation
language plpgsql
volatile
as $$
declare
  v_limited constant boolean := num_nonnulls(settings.concurrency, settings.rate_limit) > 0;
  v_now timestamptz;
  v_reserved tide.reservation;
  v_picked tide.picked;
  v_admitted uuid[];
  v_unslotted integer := 0;
  v_capacity integer := greatest(max_runs, 0);
begin
  if settings.paused or (settings.push_url is not null) <> push then
    return null;
  end if;
  if v_limited then
    v_now := tide._now();
    if settings.concurrency is not null then
      v_unslotted := tide._count_unslotted(settings);
    end if;
    v_capacity := tide._capacity(settings, v_capacity, v_unslotted);
  else
    v_capacity := v_capacity + ahead;
  end if;
  if v_capacity = 0 then
    return null;
  end if;
  v_picked := tide._pick_ready(_reserve.queue, v_capacity, _reserve.workflows);
  if cardinality(v_picked.run_ids) = 0 then
    return null;
  end if;
  if v_picked.lanes is not null and cardinality(v_picked.run_ids) > _reserve.max_runs then
    -- What waits for a worker's slot keeps no place of a lane.
    v_capacity := greatest(max_runs, 0);
    if v_capacity = 0 then
      return null;
    end if;
    v_picked := tide._pick_ready(_reserve.queue, v_capacity, _reserve.workflows);
  end if;
  v_reserved.settings := settings;
  v_reserved.run_ids := v_picked.run_ids;
  if not v_limited and v_picked.lanes is null then
    return v_reserved;
  end if;
  if v_picked.lanes is not null then
    v_reserved := tide._admit(
      _reserve.queue, v_reserved, v_picked, v_capacity, _reserve.workflows
    );
    v_admitted := v_reserved.run_ids;
  end if;
  if settings.concurrency is not null and cardinality(v_reserved.run_ids) > 0 then
    v_reserved.slots := array(
      select s.slot
      from tide.slots as s
      where s.queue = _reserve.queue
        and s.slot <= settings.concurrency
        and s.run_id is null
      order by s.slot
      limit cardinality(v_reserved.run_ids) + v_unslotted
      for no key update skip locked
    );
    v_reserved.run_ids := v_reserved.run_ids[:cardinality(v_reserved.slots) - v_unslotted];
  end if;
  if settings.rate_limit is not null and cardinality(v_reserved.run_ids) > 0 then
    v_reserved.permits := array(
      select p.permit
      from tide.permits as p
      where p.queue = _reserve.queue
        and p.available_at <= v_now
      order by p.available_at, p.permit
      limit cardinality(v_reserved.run_ids)
      for no key update skip locked
    );
    v_reserved.run_ids := v_reserved.run_ids[:cardinality(v_reserved.permits)];
  end if;
  if cardinality(v_reserved.run_ids) < cardinality(v_admitted) then
    perform tide._return_units(array_agg(a.run_id))
    from unnest(v_admitted, v_reserved.units) with ordinality as a(run_id, units, place)
    where a.place > cardinality(v_reserved.run_ids)
      and a.units is not null
    having count(*) > 0;
    perform tide._free_places(
      array_agg((r.run_id, r.lane, r.lane_key, a.lane_slot, a.lane_key_slot)::tide.lane_holds)
    )
    from unnest(
      v_admitted, v_reserved.lane_slots, v_reserved.lane_key_slots
    ) with ordinality as a(run_id, lane_slot, lane_key_slot, place)
    join tide.runs_active as r on r.run_id = a.run_id
    where a.place > cardinality(v_reserved.run_ids)
      and r.lane <> ''
    having count(*) > 0;
    perform tide._return_more_lanes(v_admitted[cardinality(v_reserved.run_ids) + 1:]);
  end if;
  if cardinality(v_reserved.run_ids) = 0 then
    return null;
  end if;
  if v_reserved.turns is not null then
    perform tide._use_turns(v_reserved.run_ids, v_reserved.turns);
  end if;
  return v_reserved;
end;
$$;

comment on function tide._reserve is
  'Lock ready runs of one queue, places in their lanes, and a slot and a permit for each; null when there '
  'is nothing to take. push = for a dispatch, which only push queues allow, and they allow nothing else.';
