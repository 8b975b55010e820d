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
begin
  perform tide._write_turns(
    array(
      select
        (
          _give_turns.lane,
          _give_turns.lane_key,
          t.after_at + n.place * t.length,
          n.run_id,
          _give_turns.queue
        )::tide.lane_heads
      from tide._next_turn(_give_turns.lane, _give_turns.lane_key) as t
      cross join unnest(_give_turns.run_ids) with ordinality as n(run_id, place)
    )
  );
end;
$$;

comment on function tide._give_turns is
  'Let runs of one key of a fair lane, locked by the caller and in their order, be claimed, each at its '
  'turn: after those of the key before it, and not before the virtual time of the lane.';
