create or replace function tide._explain_breaker(lane tide.lanes)
returns jsonb
language plpgsql
stable
as $$
begin
  if lane.opened_at is null or tide._is_answered(_explain_breaker.lane.lane) then
    return '[]'::jsonb;
  end if;
  return tide._reason(
    'provider',
    'its provider is away: the breaker of its lane is open until a probe succeeds',
    (
      select jsonb_build_object(
        'lane', _explain_breaker.lane.lane,
        'since', _explain_breaker.lane.opened_at,
        'failures', b.failures,
        'failure', b.failure,
        'next_probe_at', _explain_breaker.lane.probe_at,
        'probe', (
          select r.run_id
          from tide.runs_active as r
          where r.run_id = _explain_breaker.lane.probe_id
            and (
              r.lane = _explain_breaker.lane.lane
              or _explain_breaker.lane.lane = any (tide._more_lanes(array[r.run_id]))
            )
            and (r.status = 'running' or r.dispatched_until is not null)
        )
      )
      from tide._breaker_of(_explain_breaker.lane) as b
    )
  );
end;
$$;

comment on function tide._explain_breaker is
  'The reason provider, with since when and the next probe, or an empty list where its breaker is closed.';
