create or replace function tide._fail(
  run tide.runs,
  error jsonb,
  retryable boolean,
  failure_class text,
  retry_after interval
)
returns void
language plpgsql
volatile
as $$
declare
  v_run_at timestamptz;
  v_open tide.runs;
begin
  if run.lane is not null then
    v_open := tide._note_failures(run, _fail.error, _fail.failure_class);
  end if;
  if v_open.lane is not null and retryable then
    perform tide._park_at_provider(run, _fail.error, v_open.lane, v_open.lane_key);
  elsif retryable and run.attempt < run.max_attempts then
    v_run_at := tide._now() + coalesce(_fail.retry_after, tide._backoff(run));
    perform tide._requeue(
      run,
      ended_by => 'failed',
      run_at => v_run_at,
      counted => true,
      event => 'run.requeued',
      payload => jsonb_build_object(
        'reason', 'failed',
        'attempt', run.attempt,
        'max_attempts', run.max_attempts,
        'run_at', v_run_at,
        'error', _fail.error
      ),
      error => _fail.error
    );
  else
    perform tide._finish(
      array[run.run_id],
      'failed',
      error => _fail.error,
      failure_class => coalesce(
        _fail.failure_class,
        case when retryable and run.max_attempts > 1 then 'max_retries' else 'error' end
      )
    );
  end if;
end;
$$;

comment on function tide._fail is
  'End an attempt that failed: another one after its backoff, or the run has failed. Where the breaker '
  'of one of its lanes is open it was none.';
