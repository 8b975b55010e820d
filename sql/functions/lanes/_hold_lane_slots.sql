create or replace function tide._hold_lane_slots(
  asks tide.lane_asks[],
  answers tide.lane_answers,
  run_ids uuid[]
)
returns void
language plpgsql
volatile
as $$
begin
  update tide.lane_slots as s
  set run_id = h.run_id
  from (
    select
      a.run_id,
      a.lane,
      n.lane_key,
      n.slot
    from unnest(
      _hold_lane_slots.asks, answers.lane_slots, answers.lane_key_slots
    ) as a(place, run_id, hold_id, lane, lane_key, cost, lane_slot, lane_key_slot)
    cross join lateral (
      values
        ('', a.lane_slot),
        (a.lane_key, a.lane_key_slot)
    ) as n(lane_key, slot)
    where a.hold_id = a.run_id
      and a.run_id = any (_hold_lane_slots.run_ids)
      and n.slot is not null
  ) as h
  where s.lane = h.lane
    and s.lane_key = h.lane_key
    and s.slot = h.slot;
end;
$$;

comment on function tide._hold_lane_slots is
  'Write down that runs hold the places that were locked for them in the lanes of their rows.';
