create or replace function tide._hold_more_lanes(
  asks tide.lane_asks[],
  answers tide.lane_answers,
  run_ids uuid[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_holders uuid[];
begin
  with held as (
    update tide.run_lanes as o
    set
      held = true,
      lane_slot = answers.lane_slots[a.ask],
      lane_key_slot = answers.lane_key_slots[a.ask],
      units_left = case
        when tide._is_charged(answers.charges, o.hold_id) then coalesce(o.cost, 1)
      end
    from unnest(_hold_more_lanes.asks) with ordinality as a(
      place, run_id, hold_id, lane, lane_key, cost, ask
    )
    where o.run_id = any (_hold_more_lanes.run_ids)
      and o.hold_id = a.hold_id
    returning
      o.run_id,
      o.hold_id,
      o.lane,
      o.lane_key,
      o.lane_slot,
      o.lane_key_slot
  ), placed as (
    update tide.lane_slots as s
    set run_id = h.run_id
    from held as h
    where s.lane = h.lane
      and (
        s.lane_key = '' and s.slot = h.lane_slot
        or s.lane_key = h.lane_key and s.slot = h.lane_key_slot
      )
  )
  select array_agg(h.hold_id)
  into v_holders
  from held as h;
  if cardinality(answers.charges) > 0 then
    perform tide._write_charges(answers.charges, v_holders);
  end if;
end;
$$;

comment on function tide._hold_more_lanes is
  'Write down that runs hold what was locked for them in the lanes that are not those of their rows.';
