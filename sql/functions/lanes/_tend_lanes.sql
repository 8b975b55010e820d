-- The place is locked first and the run read in a later statement: a look at both in one statement
-- could judge a place just taken by an older picture of its run, and free it.
create or replace function tide._tend_lanes(max_slots integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_slot tide.lane_slots;
  v_lane tide.lanes;
  v_tended integer := 0;
begin
  for v_slot in
    select s.*
    from tide.lane_slots as s
    where s.looked_at < v_now - interval '10 minutes'
    order by s.looked_at
    limit _tend_lanes.max_slots
    for no key update skip locked
  loop
    v_tended := v_tended + 1;
    if exists (
      select
      from tide.runs_active as r
      where r.run_id = v_slot.run_id
        and r.lane = v_slot.lane
        and v_slot.slot = case
          when v_slot.lane_key = '' then r.lane_slot
          when v_slot.lane_key = r.lane_key then r.lane_key_slot
        end
    ) or exists (
      select
      from tide.run_lanes as o
      where o.run_id = v_slot.run_id
        and o.lane = v_slot.lane
        and v_slot.slot = case
          when v_slot.lane_key = '' then o.lane_slot
          when v_slot.lane_key = o.lane_key then o.lane_key_slot
        end
    ) then
      update tide.lane_slots as s
      set looked_at = v_now
      where s.lane = v_slot.lane
        and s.lane_key = v_slot.lane_key
        and s.slot = v_slot.slot;
    elsif v_slot.lane_key = ''
      and v_slot.slot <= (tide._find_lane(v_slot.lane)).total
    then
      update tide.lane_slots as s
      set
        looked_at = v_now,
        run_id = null
      where s.lane = v_slot.lane
        and s.lane_key = v_slot.lane_key
        and s.slot = v_slot.slot;
    else
      delete from tide.lane_slots as s
      where s.lane = v_slot.lane
        and s.lane_key = v_slot.lane_key
        and s.slot = v_slot.slot;
    end if;
  end loop;
  -- What set_lane left to claims that were under way.
  for v_lane in
    select l.*
    from tide.lanes as l
    where (
        select count(*) <> coalesce(l.total, 0)
        from tide.lane_slots as s
        where s.lane = l.lane
          and s.lane_key = ''
          and (s.slot <= l.total or s.run_id is null)
      )
    order by l.lane
    limit _tend_lanes.max_slots
    for no key update skip locked
  loop
    perform tide._fit_lane_slots(v_lane.lane, '', v_lane.total);
  end loop;
  return v_tended
    + tide._tend_purses(_tend_lanes.max_slots)
    + tide._tend_keys(_tend_lanes.max_slots);
end;
$$;

comment on function tide._tend_lanes is
  'Look at places of lanes not looked at for ten minutes: free those whose run does not hold them, forget '
  'those nobody needs; make as many as each lane should have. The same for purses and keys.';
