-- One at a time for each key, so that no turn is given twice; beside another this one leaves it to that.
-- Runs that somebody holds are passed over.
create or replace function tide._bring_up(lines tide.lane_lines[])
returns integer
language plpgsql
volatile
as $$
declare
  v_lines constant tide.lane_lines[] := tide._take_key_turns(_bring_up.lines);
  v_heads tide.lane_heads[];
  v_run_ats timestamptz[];
begin
  if v_lines = '{}' then
    return 0;
  end if;
  -- In a later statement than the locks, so it sees the turns that others have given.
  -- More than its lane lets run of a key would only be parked again.
  select
    array_agg(
      (
        n.lane, n.lane_key, t.after_at + g.place * t.length, g.run_id, n.queue
      )::tide.lane_heads
    ),
    array_agg(g.run_at)
  into
    v_heads,
    v_run_ats
  from unnest(v_lines) as n
  cross join lateral tide._next_turn(n.lane, n.lane_key) as t
  cross join lateral (
    select
      greatest(
        least(
          n.most,
          n.heads - count(*),
          case
            when t.per_key is not null then t.per_key - tide._count_held(n.lane, n.lane_key)
          end
        ),
        0
      ) as room
    from (
      select
      from tide.lane_heads as h
      where h.lane = n.lane
        and h.lane_key = n.lane_key
        and h.queue = n.queue
      order by h.lane, h.lane_key, h.turn_at
      limit n.heads
    ) as h
  ) as c
  cross join lateral (
    select
      f.run_id,
      f.run_at,
      row_number() over () as place
    from (
      select
        r.run_id,
        w.run_at
      from (
        select
          w.run_id,
          w.priority,
          w.run_at
        from tide.lane_waits as w
        where w.lane = n.lane
          and w.lane_key = n.lane_key
          and w.queue = n.queue
        order by w.lane, w.lane_key, w.queue, w.priority desc, w.run_at, w.run_id
        limit c.room + 1000
      ) as w
      cross join lateral (
        select a.run_id
        from tide.runs_active as a
        where a.run_id = w.run_id
          and a.waiting_on = 'lane'
        for no key update skip locked
      ) as r
      order by w.priority desc, w.run_at, w.run_id
      limit c.room
    ) as f
  ) as g;
  if v_heads is null then
    return 0;
  end if;
  perform tide._write_turns(v_heads, v_run_ats);
  return cardinality(v_heads);
end;
$$;

comment on function tide._bring_up is
  'Give turns to the first runs that wait in lines of different keys, higher priority and earlier run_at '
  'first; returns to how many.';
