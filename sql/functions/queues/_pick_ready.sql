-- Below a floor lie only index entries of runs that are gone; while an old snapshot keeps vacuum
-- from removing them, each claim would walk them all. So from the highest priority down, to each
-- floor belong the runs above its priority and below that of the floor before, all of which are
-- read, and those of its own priority from the floor on; the last floor stands for what lies below
-- all others. Rows are locked as they are asked for, so the limit outside bounds the locks too.
-- A floor of the future is from before the clock was set back: nothing is known by it.
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
  v_picked tide.picked;
begin
  select
    coalesce(array_agg(k.run_id), '{}'),
    coalesce(bool_or(k.laned), false)
  into
    v_picked.run_ids,
    v_picked.laned
  from (
    select
      l.run_id,
      l.laned
    from (
      select
        u.priority,
        u.run_at,
        u.first_id
      from (
        select
          o.priority,
          least(case when o.run_at <= v_now then o.run_at else '-infinity' end, l.run_at),
          case when l.run_at <= o.run_at then tide._lowest_id() else o.first_id end
        from tide.claim_floors as o
        cross join lateral (
          select min(d.run_at) as run_at
          from tide.lowered_floors as d
          where d.queue = _pick_ready.queue
            and d.priority = o.priority
        ) as l
        where o.queue = _pick_ready.queue
        union all
        select
          -32769,
          'infinity',
          tide._lowest_id()
      ) as u(priority, run_at, first_id)
      order by u.priority desc
    ) as f
    cross join lateral (
      select
        a.run_id,
        a.laned
      from (
        select
          r.run_id,
          r.lane is not null as laned
        from tide.runs_active as r
        where r.queue = _pick_ready.queue
          and r.ready
          and r.priority > f.priority
          and r.priority < coalesce(
            (
              select min(o.priority)
              from tide.claim_floors as o
              where o.queue = _pick_ready.queue
                and o.priority > f.priority
            ),
            32768
          )
          and (r.deadline_at is null or r.deadline_at > v_now)
          and (_pick_ready.workflows is null or r.workflow = any (_pick_ready.workflows))
          and r.run_id <> all (_pick_ready.seen)
        order by r.priority desc, r.run_at, r.run_id
        limit _pick_ready.max_runs
        for no key update skip locked
      ) as a
      union all
      select
        b.run_id,
        b.laned
      from (
        select
          r.run_id,
          r.lane is not null as laned
        from tide.runs_active as r
        where r.queue = _pick_ready.queue
          and r.ready
          and f.priority >= -32768
          and r.priority = f.priority
          and (r.run_at, r.run_id) >= (f.run_at, f.first_id)
          and (r.deadline_at is null or r.deadline_at > v_now)
          and (_pick_ready.workflows is null or r.workflow = any (_pick_ready.workflows))
          and r.run_id <> all (_pick_ready.seen)
        order by r.priority desc, r.run_at, r.run_id
        limit _pick_ready.max_runs
        for no key update skip locked
      ) as b
    ) as l
    order by f.priority desc
    limit _pick_ready.max_runs
  ) as k;
  return v_picked;
end;
$$;

comment on function tide._pick_ready is
  'Lock ready runs of a queue in claim order: higher priority, then earlier run_at, then run_id; those '
  'seen already, or past their deadline, are passed over.';
