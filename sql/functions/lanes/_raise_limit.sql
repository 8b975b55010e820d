-- In claims and ticks, not in the ends that complete the round: they wait for no run and no lane, so
-- what they lock keeps nobody in a circle. One that finds the lane locked leaves the step to the next.
create or replace function tide._raise_limit(lane text)
returns integer
language plpgsql
volatile
as $$
declare
  v_lane tide.lanes := tide._find_lane(_raise_limit.lane);
  v_raised tide.lanes;
begin
  if v_lane.adaptive_limit <= (
      select sum(s.completed)
      from tide.lane_slots as s
      where s.lane = _raise_limit.lane
        and s.lane_key = ''
        and s.round = v_lane.adaptive_round
    )
  then
    update tide.lanes as l
    set
      adaptive_limit = nullif(l.adaptive_limit + 1, l.total),
      adaptive_round = gen_random_uuid()
    where l.lane = any (
      array(
        select n.lane
        from tide.lanes as n
        where n.lane = _raise_limit.lane
          and n.adaptive_round = v_lane.adaptive_round
          and n.adaptive_limit = v_lane.adaptive_limit
        for no key update skip locked
      )
    )
    returning l.* into v_raised;
    if found then
      v_lane := v_raised;
      perform tide._wake_line(v_lane, '', 1);
    end if;
  end if;
  return tide._line_most(v_lane, '');
end;
$$;

comment on function tide._raise_limit is
  'Raise the lowered limit of an adaptive lane by one, if as many runs as it is completed since it last '
  'changed, and return it.';
