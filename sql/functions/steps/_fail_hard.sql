create or replace function tide._fail_hard(run tide.runs, step tide.steps)
returns void
language plpgsql
volatile
as $$
begin
  update tide.steps as s
  set
    status = 'failed',
    finished_at = coalesce(s.finished_at, tide._now())
  where s.run_id = step.run_id
    and s.name = step.name;
  perform tide._finish(
    array[run.run_id],
    'failed',
    error => jsonb_build_object(
      'message', format('step %L may not be tried again', step.name),
      'step', step.name,
      'error', step.error
    ),
    failure_class => 'fail_hard'
  );
end;
$$;

comment on function tide._fail_hard is
  'Fail a run whose step ended in doubt and must never be executed again.';
