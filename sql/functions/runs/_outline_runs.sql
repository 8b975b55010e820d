create or replace function tide._outline_runs(run_ids uuid[], errors boolean default false)
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'run_id', r.run_id,
          'workflow', r.workflow,
          'queue', r.queue,
          'status', r.status,
          'ready', r.ready,
          'waiting_on', r.waiting_on,
          'waiting_for', r.waiting_for,
          'priority', r.priority,
          'attempt', r.attempt,
          'max_attempts', r.max_attempts,
          'last_seq', r.last_seq,
          'run_at', r.run_at,
          'created_at', r.created_at,
          'started_at', r.started_at,
          'finished_at', r.finished_at,
          'deadline_at', r.deadline_at,
          'leased_until', r.leased_until,
          'worker', r.worker,
          'failure_class', r.failure_class,
          'cancel_reason', r.cancel_reason,
          'cancel_actor', r.cancel_actor,
          'parent_id', r.parent_id,
          'forked_from', r.forked_from
        ) || case
          when _outline_runs.errors then jsonb_build_object(
            'error', left(coalesce(r.error ->> 'message', r.error #>> '{}'), 300)
          )
          else '{}'
        end
        order by r.run_id desc
      ),
      '[]'
    )
    from tide.runs as r
    where r.run_id = any (_outline_runs.run_ids)
  );
end;
$$;

comment on function tide._outline_runs is
  'Runs without what they carry, newest first; with errors, the beginning of their message.';
