-- Without a lock on the key: enqueues of one key do not wait for each other. Where two do not see each other
-- the key has some more runs in the order than it should.
create or replace function tide._line_up(run_ids uuid[])
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_line record;
  v_room integer;
  v_lined uuid[] := array[]::uuid[];
begin
  for v_line in
    select
      r.lane,
      r.lane_key,
      r.queue,
      array_agg(r.run_id order by r.priority desc, r.run_at, r.run_id) as run_ids
    from tide.runs_active as r
    where r.run_id = any (_line_up.run_ids)
      -- With r.ready alone the planner may take the index of all that is ready.
      and r.ready is not false
      and r.turn_at is null
      and exists (
        select
        from tide.lanes as l
        where l.lane = r.lane
          and l.fair
      )
    group by
      r.lane,
      r.lane_key,
      r.queue
    order by
      r.lane,
      r.lane_key,
      r.queue
  loop
    v_lined := v_lined || v_line.run_ids;
    if v_line.lane_key is null then
      -- Without a key they have no line of their own: all stand in the order.
      for v_from in 1..cardinality(v_line.run_ids) by 1000 loop
        perform tide._give_turns(
          v_line.lane, '', v_line.queue, v_line.run_ids[v_from:v_from + 999]
        );
      end loop;
      continue;
    end if;
    v_room := case
      when exists (
        select
        from tide.lane_waits as w
        where w.lane = v_line.lane
          and w.lane_key = v_line.lane_key
          and w.queue = v_line.queue
      )
        then 0
      else greatest(tide._turns() - tide._count_heads(
        v_line.lane, v_line.lane_key, v_line.queue, tide._turns()
      ), 0)
    end;
    if v_room > 0 then
      perform tide._give_turns(
        v_line.lane, v_line.lane_key, v_line.queue, v_line.run_ids[:v_room]
      );
    end if;
    if cardinality(v_line.run_ids) > v_room then
      perform tide._park_in_line(
        v_line.lane, v_line.run_ids[v_room + 1:], v_line.lane_key, 'lane'
      );
    end if;
  end loop;
  return v_lined;
end;
$$;

comment on function tide._line_up is
  'Of ready runs, locked by the caller, give those of fair lanes their turns, or let them wait behind the '
  'first of their key; returns these.';
