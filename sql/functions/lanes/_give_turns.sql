-- Who gives turns to runs of one key beside this one gives them the same: the key is then ahead of the others
-- by these few.
create or replace function tide._give_turns(
  lane text,
  lane_key text,
  queue text,
  run_ids uuid[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_length constant interval := tide._turn_length(_give_turns.lane, _give_turns.lane_key);
  v_from timestamptz := tide._virtual_time(_give_turns.lane);
begin
  v_from := greatest(
    v_from,
    (
      select h.turn_at
      from tide.lane_heads as h
      where h.lane = _give_turns.lane
        and h.lane_key = _give_turns.lane_key
      order by h.turn_at desc
      limit 1
    )
  );
  insert into tide.lane_heads (lane, lane_key, turn_at, run_id, queue)
  select
    _give_turns.lane,
    _give_turns.lane_key,
    v_from + n.place * v_length,
    n.run_id,
    _give_turns.queue
  from unnest(_give_turns.run_ids) with ordinality as n(run_id, place);
  update tide.runs_active as r
  set
    ready = true,
    waiting_on = null,
    waiting_for = null,
    run_at = coalesce(
      r.run_at,
      (
        select w.run_at
        from tide.lane_waits as w
        where w.run_id = r.run_id
      )
    ),
    turn_at = v_from + array_position(_give_turns.run_ids, r.run_id) * v_length
  where r.run_id = any (_give_turns.run_ids);
  delete from tide.lane_waits as w
  where w.run_id = any (_give_turns.run_ids);
  perform tide._make_ready(
    _give_turns.queue, 0, least(v_from + v_length, tide._now()), cardinality(_give_turns.run_ids)
  );
end;
$$;

comment on function tide._give_turns is
  'Let runs of one key of a fair lane, locked by the caller and in their order, be claimed, each at its '
  'turn: after those of the key before it, and not before the virtual time of the lane.';
