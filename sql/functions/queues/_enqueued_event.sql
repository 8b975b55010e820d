-- In SQL, so that it is inlined. The time is written in UTC: where the run tells its first event,
-- readers in all time zones must read the same.
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
  'run_at', pg_catalog.concat(
    pg_catalog.jsonb_build_array(
      pg_catalog.timezone('UTC', _enqueued_event.run_at)
    ) operator(pg_catalog.->>) 0,
    '+00:00'
  ),
  'max_attempts', _enqueued_event.max_attempts
)
$$;

comment on function tide._enqueued_event is 'What the event run.enqueued says.';
