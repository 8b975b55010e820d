create or replace function tide._release(run tide.runs, delay interval)
returns void
language plpgsql
volatile
as $$
declare
  -- Without a delay the run keeps its place in the queue.
  v_run_at constant timestamptz := case
    when delay > interval '0' then tide._now() + delay
    else run.run_at
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
    )
  );
end;
$$;

comment on function tide._release is 'Put a locked, running run back without counting the attempt.';
