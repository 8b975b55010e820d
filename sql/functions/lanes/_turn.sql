create or replace function tide._turn(
  lane text,
  lane_key text,
  turn_at timestamptz,
  run_id uuid,
  queue text
)
returns tide.lane_heads
language sql
immutable
parallel safe
as $$
select case
  when _turn.turn_at is not null
    then (
      _turn.lane, coalesce(_turn.lane_key, ''), _turn.turn_at, _turn.run_id, _turn.queue
    )::tide.lane_heads
end
$$;

comment on function tide._turn is
  'The turn of a run of a fair lane, as a row of tide.lane_heads; null = it has none.';
