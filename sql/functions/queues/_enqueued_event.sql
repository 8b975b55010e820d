-- In SQL, so that it is inlined.
create or replace function tide._enqueued_event(
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
  'workflow', _enqueued_event.workflow,
  'queue', _enqueued_event.queue,
  'priority', _enqueued_event.priority,
  'run_at', _enqueued_event.run_at,
  'max_attempts', _enqueued_event.max_attempts
)
$$;

comment on function tide._enqueued_event is 'What the event run.enqueued says.';
