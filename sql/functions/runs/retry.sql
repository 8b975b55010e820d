create or replace function tide.retry(
  run_id uuid,
  actor text default null,
  reset_attempts boolean default true,
  run_at timestamptz default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_actor constant text := tide._valid_note('actor', retry.actor);
  v_now constant timestamptz := tide._now();
  v_run_at timestamptz := v_now;
  v_old tide.runs;
  v_run tide.runs;
begin
  perform tide._require_read_committed('retry');
  if retry.run_at is not null then
    v_run_at := tide._valid_time('run_at', retry.run_at);
  end if;
  perform tide._require_run(retry.run_id, 'enqueue');
  select r.*
  into v_old
  from tide.runs_finished as r
  where r.run_id = retry.run_id
    and r.status in ('failed', 'cancelled')
  for update;
  if not found then
    v_run := tide._find_run(retry.run_id);
    if v_run.status = 'completed' then
      raise exception 'run % is completed and cannot be retried', v_run.run_id
        using errcode = 'TD030',
              hint = 'Enqueue a new run.';
    end if;
    return v_run;
  end if;

  if v_old.status = 'cancelled' and v_old.lease_id is not null then
    -- Its worker may not have learned of the end.
    perform tide._note_lost(v_old);
  end if;
  perform tide._write_told_events(array[v_old.run_id]);
  delete from tide.runs_finished as r
  where r.run_id = v_old.run_id;
  insert into tide.runs_active as r (
    run_id, workflow, queue, status, dedupe_key, priority, attempt, max_attempts, last_seq, ready,
    run_at, created_at, started_at, deadline_at, worker, input, metadata, error, backoff,
    deadline, parent_id, forked_from, budget, recovery_url, recover_at, requested_by
  )
  values (
    v_old.run_id,
    v_old.workflow,
    v_old.queue,
    case when v_old.queue is null then 'pending' else 'queued' end,
    v_old.dedupe_key,
    v_old.priority,
    case when coalesce(retry.reset_attempts, true) then 0 else v_old.attempt end,
    case
      when coalesce(retry.reset_attempts, true) then v_old.max_attempts
      else least(100, greatest(v_old.max_attempts, v_old.attempt + 1))
    end,
    v_old.last_seq + 1,
    v_old.queue is not null and v_run_at <= v_now,
    v_run_at,
    v_old.created_at,
    v_old.started_at,
    -- The run gets the time it had at first, counted from now.
    v_now + v_old.deadline,
    v_old.worker,
    v_old.input,
    v_old.metadata,
    v_old.error,
    v_old.backoff,
    v_old.deadline,
    v_old.parent_id,
    v_old.forked_from,
    v_old.budget,
    v_old.recovery_url,
    case when v_old.recovery_url is not null then v_run_at end,
    v_old.requested_by
  )
  on conflict do nothing
  returning r.* into v_run;
  if not found then
    raise exception 'run % cannot be retried: another active run of queue % has its dedupe key %',
        v_old.run_id, v_old.queue, quote_literal(v_old.dedupe_key)
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
    array[jsonb_build_object('actor', v_actor, 'from', v_old.status, 'run_at', v_run_at)]
  );
  return v_run;
end;
$$;

comment on function tide.retry is
  'Let a failed or cancelled run go on from its checkpoints; an active run is returned as it is. '
  'Completed: TD030; dedupe key taken meanwhile: TD023.';
