create or replace function tide._judge_breaker(lane text)
returns tide.lanes
language plpgsql
volatile
as $$
declare
  v_lane tide.lanes;
begin
  v_lane := (
    select l
    from tide.lanes as l
    where l.lane = _judge_breaker.lane
    for no key update skip locked
  );
  if v_lane.opened_at is not null and tide._is_answered(lane) then
    return tide._close_breaker(v_lane, 'tide');
  end if;
  return v_lane;
end;
$$;

comment on function tide._judge_breaker is
  'Lock a lane, and close it if its probe has succeeded; null where another transaction has the lock.';
