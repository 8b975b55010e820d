-- In SQL, so that it is inlined.
create or replace function tide._enqueued_payload(
  workflow text,
  queue text,
  priority integer,
  run_at timestamptz,
  max_attempts integer
)
returns jsonb
language sql
stable
parallel safe
as $$
select pg_catalog.jsonb_build_object(
  'workflow', _enqueued_payload.workflow,
  'queue', _enqueued_payload.queue,
  'priority', _enqueued_payload.priority,
  'run_at', _enqueued_payload.run_at,
  'max_attempts', _enqueued_payload.max_attempts
)
$$;

comment on function tide._enqueued_payload is 'What the event run.enqueued says.';
