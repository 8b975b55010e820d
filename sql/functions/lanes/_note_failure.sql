-- One at a time for a lane, so the failure that opens it is one and the same for all. What was under way
-- when it opened locks nothing.
create or replace function tide._note_failure(
  run tide.runs,
  error jsonb,
  failure_class text
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_lane tide.lanes := tide._find_lane(run.lane);
  v_class text;
  v_failure_id bigint;
  v_failures bigint;
begin
  if v_lane.breaker_failures is null then
    return false;
  end if;
  v_class := tide._counted_class(v_lane.breaker_classes, error, failure_class);
  if v_class is null then
    return false;
  elsif v_lane.opened_at is not null
    and v_lane.probe_id is distinct from run.run_id
    and not tide._is_answered(run.lane)
  then
    return true;
  end if;
  v_lane := (
    select l
    from tide.lanes as l
    where l.lane = run.lane
    for no key update
  );
  if v_lane.breaker_failures is null then
    return false;
  end if;
  if v_lane.opened_at is not null and tide._is_answered(run.lane) then
    v_lane := tide._close_breaker(v_lane, 'tide');
  end if;
  if v_lane.opened_at is not null and v_lane.probe_id is distinct from run.run_id then
    return true;
  end if;
  insert into tide.lane_failures as f (lane, failed_at, class, message)
  values (v_lane.lane, tide._now(), v_class, left(_note_failure.error ->> 'message', 500))
  returning f.failure_id into v_failure_id;
  if v_lane.opened_at is null then
    select count(*)
    into v_failures
    from tide.lane_failures as f
    where f.lane = v_lane.lane;
    if v_failures < v_lane.breaker_failures then
      return false;
    end if;
  end if;
  perform tide._open_breaker(v_lane, run.run_id, v_failure_id);
  return true;
end;
$$;

comment on function tide._note_failure is
  'Count a failure of a run for the breaker of its lane; true = the lane is open, so the attempt is not '
  'to count.';
