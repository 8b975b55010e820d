create or replace function tide._park_at_provider(
  run tide.runs,
  error jsonb,
  lane text,
  lane_key text
)
returns void
language plpgsql
volatile
as $$
begin
  perform tide._requeue(
    run,
    ended_by => 'failed',
    run_at => null,
    counted => false,
    event => 'run.requeued',
    payload => jsonb_build_object(
      'reason', 'provider',
      'attempt', run.attempt,
      'max_attempts', run.max_attempts,
      'run_at', run.run_at,
      'error', _park_at_provider.error
    ),
    error => _park_at_provider.error,
    waiting_on => 'provider',
    waiting_for => _park_at_provider.lane
  );
  insert into tide.lane_waits (run_id, lane, lane_key, priority, run_at, run_key)
  values (
    run.run_id,
    _park_at_provider.lane,
    '',
    run.priority,
    run.run_at,
    _park_at_provider.lane_key
  );
end;
$$;

comment on function tide._park_at_provider is
  'Give the attempt of a run back that failed while the breaker of one of its lanes is open: it keeps its '
  'place and waits until the lane goes on.';
