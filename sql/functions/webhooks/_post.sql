create or replace function tide._post(
  run tide.runs,
  type text,
  url text,
  secret_name text,
  reason text,
  expires_in interval
)
returns uuid
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_delivery_id constant uuid := tide._uuid7();
begin
  insert into tide.deliveries (
    run_id, delivery_id, type, url, endpoint, secret_name, body, max_attempts, due_at, expires_at,
    created_at
  )
  values (
    run.run_id,
    v_delivery_id,
    _post.type,
    _post.url,
    tide._endpoint(_post.url),
    coalesce(_post.secret_name, 'default'),
    json_build_object(
      'type', _post.type,
      'run_id', run.run_id,
      'runId', tide._wire_id('run', run.run_id),
      'workflow', run.workflow,
      'workflowName', run.workflow,
      'reason', _post.reason,
      'attempt', run.attempt + 1,
      'delivery_id', v_delivery_id,
      'seq', run.last_seq + 1,
      'created_at', v_now
    )::text,
    5,
    v_now,
    v_now + _post.expires_in,
    v_now
  );
  return v_delivery_id;
end;
$$;

comment on function tide._post is
  'Write a delivery that asks an application to begin or resume a run, and return its id.';
