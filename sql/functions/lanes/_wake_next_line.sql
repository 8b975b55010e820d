-- As many are woken as have room, whether or not others were woken for it before: a place is lost only
-- where nobody looks for it, and a run woken in vain is parked again by the claim that finds no place.
create or replace function tide._wake_next_line(lane text, lane_key text)
returns tide.lane_waits
language plpgsql
volatile
as $$
declare
  v_first tide.lane_waits;
  v_lane tide.lanes;
  v_most integer;
begin
  v_first := (
    select w
    from tide.lane_waits as w
    where (w.lane, w.lane_key) > (_wake_next_line.lane, _wake_next_line.lane_key)
      and w.lane >= _wake_next_line.lane
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1
  );
  if v_first.run_id is not null then
    v_lane := tide._find_lane(v_first.lane);
    if v_lane.opened_at is not null then
      perform tide._wake_probe(v_first.lane);
    end if;
    v_most := case
      when v_first.lane_key = '' and v_lane.adaptive_limit is not null
        then tide._raise_limit(v_first.lane)
      else tide._line_most(v_lane, v_first.lane_key)
    end;
    perform tide._wake_line(
      v_lane,
      v_first.lane_key,
      coalesce(v_most - tide._count_held(v_first.lane, v_first.lane_key), 1000)
    );
  end if;
  return v_first;
end;
$$;

comment on function tide._wake_next_line is
  'Wake runs of the first line after a line in which runs wait, as many as it has room for, and return the '
  'first of those that waited; null = there is no such line.';
