create or replace function tide._retry(
  run tide.runs,
  actor text,
  reset_attempts boolean,
  run_at timestamptz
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
begin
  if run.status = 'cancelled' and run.lease_id is not null then
    -- Its worker may not have learned of the end.
    perform tide._note_lost(run);
  end if;
  perform tide._write_told_events(array[run.run_id]);
  delete from tide.runs_finished as r
  where r.run_id = run.run_id;
  insert into tide.runs_active as r (
    run_id, workflow, queue, status, dedupe_key, priority, attempt, max_attempts, last_seq, ready,
    run_at, created_at, started_at, deadline_at, worker, input, metadata, error, backoff,
    deadline, parent_id, forked_from, budget, recovery_url, recover_at, requested_by
  )
  values (
    run.run_id,
    run.workflow,
    run.queue,
    case when run.queue is null then 'pending' else 'queued' end,
    run.dedupe_key,
    run.priority,
    case when _retry.reset_attempts then 0 else run.attempt end,
    case
      when _retry.reset_attempts then run.max_attempts
      else least(100, greatest(run.max_attempts, run.attempt + 1))
    end,
    run.last_seq + 1,
    run.queue is not null and _retry.run_at <= v_now,
    _retry.run_at,
    run.created_at,
    run.started_at,
    -- The run gets the time it had at first, counted from now.
    v_now + run.deadline,
    run.worker,
    run.input,
    run.metadata,
    run.error,
    run.backoff,
    run.deadline,
    run.parent_id,
    run.forked_from,
    run.budget,
    run.recovery_url,
    case when run.recovery_url is not null then _retry.run_at end,
    run.requested_by
  )
  on conflict do nothing
  returning r.* into v_run;
  if not found then
    raise exception 'run % cannot be retried: another active run of queue % has its dedupe key %',
        run.run_id, run.queue, quote_literal(run.dedupe_key)
      using errcode = 'TD023',
            hint = 'Wait for that run to end, or cancel it.';
  end if;
  perform tide._undo_ending(v_run);
  if v_run.ready then
    perform tide._lower_floor(v_run.queue, v_run.priority, v_run.run_at, v_run.run_id);
  end if;
  if v_run.queue is not null and v_run.run_at < tide._soon() then
    perform tide._wake_workers(v_run.queue, 1);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    'run.retried',
    array[jsonb_build_object('actor', _retry.actor, 'from', run.status, 'run_at', _retry.run_at)]
  );
  return v_run;
end;
$$;

comment on function tide._retry is
  'Let a failed or cancelled run, locked by the caller, go on from its checkpoints.';
