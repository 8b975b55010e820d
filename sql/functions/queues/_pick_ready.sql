-- Below a floor lie only index entries of runs that are gone; while an old snapshot keeps vacuum
-- from removing them, each claim would walk them all. So from the highest priority down, to each
-- floor belong the runs above its priority and below that of the floor before, all of which are
-- read, and those of its own priority from the floor on; the last floor, which is none, stands for
-- what lies below all others. Most queues have no floor, and so one range.
-- A floor of the future is from before the clock was set back: nothing is known by it. What is written of
-- priority and run_at is that of the index, where runs with a turn have that.
create or replace function tide._pick_ready(
  queue text,
  max_runs integer,
  workflows text[],
  seen uuid[] default '{}'
)
returns tide.picked
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_floors tide.claim_floors[] := array[]::tide.claim_floors[];
  v_picked tide.picked;
begin
  if exists (
      select
      from tide.claim_floors as o
      where o.queue = _pick_ready.queue
    )
  then
    v_floors := array(
      select
        (
          o.queue,
          o.priority,
          least(case when o.run_at <= v_now then o.run_at else '-infinity' end, l.run_at),
          case when l.run_at <= o.run_at then tide._lowest_id() else o.first_id end
        )::tide.claim_floors
      from tide.claim_floors as o
      left join lateral (
        select d.run_at
        from tide.lowered_floors as d
        where d.queue = o.queue
          and d.priority = o.priority
        order by d.run_at
        limit 1
      ) as l on true
      where o.queue = _pick_ready.queue
      order by o.priority desc
    );
  end if;
  for v_place in 1 .. cardinality(v_floors) + 1 loop
    select
      v_picked.run_ids || coalesce(array_agg(a.run_id), '{}'),
      v_picked.lanes || array_agg(a.lane) filter (where a.lane is not null),
      v_picked.turns || array_agg(a.turn) filter (where a.turn is not null)
    into
      v_picked.run_ids,
      v_picked.lanes,
      v_picked.turns
    from (
      select
        r.run_id,
        r.lane,
        tide._turn(r.lane, r.lane_key, r.turn_at, r.run_id, r.queue) as turn
      from tide.runs_active as r
      where r.queue = _pick_ready.queue
        and r.ready
        and (case when r.turn_at is null then r.priority else 0 end)
          > coalesce(v_floors[v_place].priority, -32769)
        and (case when r.turn_at is null then r.priority else 0 end)
          < coalesce(v_floors[v_place - 1].priority, 32768)
        and (r.deadline_at is null or r.deadline_at > v_now)
        and (_pick_ready.workflows is null or r.workflow = any (_pick_ready.workflows))
        and r.run_id <> all (_pick_ready.seen)
      order by
        (case when r.turn_at is null then r.priority else 0 end) desc,
        coalesce(r.turn_at, r.run_at),
        r.run_id
      limit _pick_ready.max_runs - coalesce(cardinality(v_picked.run_ids), 0)
      for no key update skip locked
    ) as a;
    exit when v_place > cardinality(v_floors) or cardinality(v_picked.run_ids) = max_runs;
    select
      v_picked.run_ids || coalesce(array_agg(b.run_id), '{}'),
      v_picked.lanes || array_agg(b.lane) filter (where b.lane is not null),
      v_picked.turns || array_agg(b.turn) filter (where b.turn is not null)
    into
      v_picked.run_ids,
      v_picked.lanes,
      v_picked.turns
    from (
      select
        r.run_id,
        r.lane,
        tide._turn(r.lane, r.lane_key, r.turn_at, r.run_id, r.queue) as turn
      from tide.runs_active as r
      where r.queue = _pick_ready.queue
        and r.ready
        and (case when r.turn_at is null then r.priority else 0 end) = v_floors[v_place].priority
        and (coalesce(r.turn_at, r.run_at), r.run_id)
          >= (v_floors[v_place].run_at, v_floors[v_place].first_id)
        and (r.deadline_at is null or r.deadline_at > v_now)
        and (_pick_ready.workflows is null or r.workflow = any (_pick_ready.workflows))
        and r.run_id <> all (_pick_ready.seen)
      order by
        (case when r.turn_at is null then r.priority else 0 end) desc,
        coalesce(r.turn_at, r.run_at),
        r.run_id
      limit _pick_ready.max_runs - cardinality(v_picked.run_ids)
      for no key update skip locked
    ) as b;
    exit when cardinality(v_picked.run_ids) = max_runs;
  end loop;
  return v_picked;
end;
$$;

comment on function tide._pick_ready is
  'Lock ready runs of a queue in claim order: higher priority, then earlier run_at, then run_id; those '
  'seen already, or past their deadline, are passed over.';
