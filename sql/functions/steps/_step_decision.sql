-- In SQL, so that it is inlined where many steps are judged at once.
create or replace function tide._step_decision(status text, replay text, begun_here boolean)
returns text
language sql
immutable
parallel safe
as $$
select case
  when _step_decision.status operator(pg_catalog.=) 'completed' then 'replay'
  when _step_decision.status operator(pg_catalog.=) 'running' and _step_decision.begun_here
    then 'again'
  when _step_decision.status operator(pg_catalog.=) 'failed_retryable' then 'execute'
  when _step_decision.status operator(pg_catalog.=) 'manual_review' then 'review'
  when _step_decision.replay operator(pg_catalog.=) 'auto' then 'execute'
  when _step_decision.replay operator(pg_catalog.=) 'manual' then 'review'
  else 'fail'
end
$$;

comment on function tide._step_decision is
  'What becomes of a step that was begun: replay, again (the attempt that began it asks once more), '
  'execute, review or fail. begun_here = under the lease of who asks.';
