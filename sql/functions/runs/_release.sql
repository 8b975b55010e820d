create or replace function tide._release(run tide.runs, delay interval, throttle text)
returns void
language plpgsql
volatile
as $$
declare
  -- Without a delay the run keeps its place in the queue, and where its lane was throttled for it.
  v_run_at constant timestamptz := case
    when delay <= interval '0'
      or throttle is not null and (tide._find_lane(run.lane)).throttled_until > tide._now()
    then run.run_at
    else tide._now() + delay
  end;
begin
  perform tide._requeue(
    run,
    ended_by => 'released',
    run_at => v_run_at,
    counted => false,
    event => 'run.requeued',
    payload => jsonb_build_object(
      'reason', 'released',
      'attempt', run.attempt,
      'max_attempts', run.max_attempts,
      'run_at', v_run_at
    ) || case
      when throttle is null then '{}'
      else jsonb_build_object('throttle', throttle)
    end
  );
end;
$$;

comment on function tide._release is 'Put a locked, running run back without counting the attempt.';
