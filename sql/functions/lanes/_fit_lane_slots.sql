-- The caller has locked the row of the lane, for a line of a key that of its turn, so nobody else makes
-- these places. What a claim holds just now is left alone: a busy place above the limit goes once it is
-- free, by upkeep.
create or replace function tide._fit_lane_slots(lane text, lane_key text, most integer)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.lane_slots (lane, lane_key, slot, looked_at)
  select
    _fit_lane_slots.lane,
    _fit_lane_slots.lane_key,
    n.slot,
    tide._now()
  from generate_series(1, _fit_lane_slots.most) as n(slot)
  -- An insert would wait for a claim that updates the row it conflicts with.
  where not exists (
    select
    from tide.lane_slots as s
    where s.lane = _fit_lane_slots.lane
      and s.lane_key = _fit_lane_slots.lane_key
      and s.slot = n.slot
  )
  order by n.slot;
  delete from tide.lane_slots as s
  where s.lane = _fit_lane_slots.lane
    and s.lane_key = _fit_lane_slots.lane_key
    and s.slot = any (
      array(
        select o.slot
        from tide.lane_slots as o
        where o.lane = _fit_lane_slots.lane
          and o.lane_key = _fit_lane_slots.lane_key
          and o.slot > coalesce(_fit_lane_slots.most, 0)
          and o.run_id is null
        for update skip locked
      )
    );
end;
$$;

comment on function tide._fit_lane_slots is
  'Make as many places in a line of a lane as its limit says, and remove free ones above it.';
