create or replace function tide._enqueued_payload(run tide.runs)
returns jsonb
language plpgsql
stable
parallel safe
as $$
begin
  return jsonb_build_object(
    'workflow', run.workflow,
    'queue', run.queue,
    'priority', run.priority,
    'run_at', run.run_at,
    'max_attempts', run.max_attempts
  );
end;
$$;

comment on function tide._enqueued_payload is 'What the event run.enqueued says.';
