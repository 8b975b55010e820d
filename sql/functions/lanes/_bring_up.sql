-- One at a time for each key, so that no turn is given twice; beside another this one leaves it to that.
-- Runs that somebody holds are passed over.
create or replace function tide._bring_up(
  lane text,
  lane_key text,
  queue text,
  heads integer,
  most integer
)
returns integer
language plpgsql
volatile
as $$
declare
  v_room integer;
  v_look integer;
  v_waiting uuid[];
  v_run_ids uuid[];
begin
  if not tide._take_key_turn(lane, lane_key) then
    return 0;
  end if;
  v_room := least(
    _bring_up.most,
    _bring_up.heads - tide._count_heads(
      _bring_up.lane, _bring_up.lane_key, _bring_up.queue, _bring_up.heads
    )
  );
  if v_room <= 0 then
    return 0;
  end if;
  foreach v_look in array array[v_room, v_room + 1000] loop
    v_waiting := array(
      select w.run_id
      from tide.lane_waits as w
      where w.lane = _bring_up.lane
        and w.lane_key = _bring_up.lane_key
        and w.queue = _bring_up.queue
      order by w.lane, w.lane_key, w.queue, w.priority desc, w.run_at, w.run_id
      limit v_look
    );
    v_run_ids := array(
      select r.run_id
      from tide.runs_active as r
      where r.run_id = any (v_waiting)
        and r.waiting_on = 'lane'
      order by array_position(v_waiting, r.run_id)
      limit v_room
      for no key update skip locked
    );
    exit when cardinality(v_run_ids) > 0 or cardinality(v_waiting) < v_look;
  end loop;
  if cardinality(v_run_ids) > 0 then
    perform tide._give_turns(
      _bring_up.lane, _bring_up.lane_key, _bring_up.queue, v_run_ids
    );
  end if;
  return cardinality(v_run_ids);
end;
$$;

comment on function tide._bring_up is
  'Give turns to the first runs of a key that wait in a queue, higher priority and earlier run_at first, '
  'until it has so many heads; at most so many of them.';
