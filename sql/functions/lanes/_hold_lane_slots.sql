create or replace function tide._hold_lane_slots(admission tide.admission)
returns void
language plpgsql
volatile
as $$
begin
  update tide.lane_slots as s
  set run_id = h.run_id
  from (
    select
      r.lane,
      '' as lane_key,
      a.lane_slot as slot,
      r.run_id
    from unnest(admission.run_ids, admission.lane_slots) as a(run_id, lane_slot)
    join tide.runs_active as r on r.run_id = a.run_id
    where a.lane_slot is not null
    union all
    select
      r.lane,
      r.lane_key,
      a.lane_key_slot,
      r.run_id
    from unnest(admission.run_ids, admission.lane_key_slots) as a(run_id, lane_key_slot)
    join tide.runs_active as r on r.run_id = a.run_id
    where a.lane_key_slot is not null
  ) as h
  where s.lane = h.lane
    and s.lane_key = h.lane_key
    and s.slot = h.slot;
end;
$$;

comment on function tide._hold_lane_slots is 'Write down which run holds which locked place.';
