-- A claim under way ends under what it read; those that begin after the commit find the lane closed.
create or replace function tide.throttle(
  lane text,
  until timestamptz default null,
  reason text default null,
  actor text default null
)
returns tide.lanes
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_lane constant text := tide._require_lane(throttle.lane);
  v_reason constant text := tide._valid_note('reason', throttle.reason);
  v_actor constant text := tide._valid_note('actor', throttle.actor);
  v_old tide.lanes;
  v_new tide.lanes;
begin
  perform tide._require_read_committed('throttle');
  if throttle.until is not null then
    perform tide._valid_time('until', throttle.until);
  end if;
  v_old := (
    select l
    from tide.lanes as l
    where l.lane = v_lane
    for no key update
  );
  if v_old.lane is null then
    perform tide._require_lane(throttle.lane);
  end if;
  update tide.lanes as l
  set
    throttled_until = u.until,
    throttle_reason = case when u.until is not null then v_reason end
  from (
    select case when throttle.until > tide._now() then throttle.until end as until
  ) as u
  where l.lane = v_lane
  returning l.* into v_new;
  perform tide._note_lane(v_lane, v_actor, v_old, v_new);
  if v_new.throttled_until is null then
    if v_new.opened_at is not null then
      v_new := tide._close_breaker(v_new, v_actor);
    end if;
    perform tide._wake_lane(v_lane);
  end if;
  return v_new;
end;
$$;

comment on function tide.throttle is
  'Let no run of a lane be claimed before a time; null or a time that has passed lifts it, and '
  'closes its breaker. Holds for claims that begin after the commit; running runs go on. A lane that is '
  'not set: TD010.';
