create or replace function tide._replay_action(step tide.steps, lease_id uuid)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return case
    when step.status = 'completed' then 'replay'
    when step.status = 'running' and step.lease_id = _replay_action.lease_id then 'again'
    when step.status = 'failed_retryable' then 'execute'
    when step.status = 'manual_review' then 'review'
    when step.replay = 'auto' then 'execute'
    when step.replay = 'manual' then 'review'
    else 'fail'
  end;
end;
$$;

comment on function tide._replay_action is
  'What beginning an existing step means: replay, again, execute, review or fail.';
