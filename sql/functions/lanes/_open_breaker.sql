-- What a success deletes just now is left to it: a wait for it could be a deadlock.
create or replace function tide._open_breaker(
  lane tide.lanes,
  run_id uuid,
  failure_id bigint
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_probes constant integer := case
    when lane.opened_at is null then 0
    else least(lane.probes + 1, 1000000)
  end;
  v_lane tide.lanes;
begin
  delete from tide.lane_failures as f
  where f.lane = _open_breaker.lane.lane
    and f.failure_id = any (
      array(
        select o.failure_id
        from tide.lane_failures as o
        where o.lane = _open_breaker.lane.lane
          and o.failure_id <> _open_breaker.failure_id
        for update skip locked
      )
    );
  update tide.lanes as l
  set
    opened_at = coalesce(l.opened_at, v_now),
    probes = v_probes,
    probe_at = v_now + least(
      coalesce(l.breaker_max_delay, interval '10 minutes'),
      coalesce(l.breaker_delay, interval '30 seconds')
        * (power(2, least(v_probes, 20)) * (1 + random() / 10))
    ),
    -- The probe, or at first the run that is to probe last.
    probe_id = _open_breaker.run_id
  where l.lane = _open_breaker.lane.lane
  returning l.* into v_lane;
  if lane.opened_at is null then
    perform tide._note_lane(v_lane.lane, 'tide', lane, v_lane);
  end if;
end;
$$;

comment on function tide._open_breaker is
  'Open a lane, locked by the caller, after a failure, or keep it open: until a probe, after twice the '
  'delay of the last one and up to a tenth more.';
