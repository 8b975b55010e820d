create or replace function tide._retry(
  run tide.runs,
  actor text,
  reset_attempts boolean,
  run_at timestamptz,
  among_many boolean default false
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_new tide.new_run;
  v_run tide.runs;
begin
  v_new.run_id := run.run_id;
  v_new.workflow := run.workflow;
  v_new.queue := run.queue;
  v_new.input := run.input;
  v_new.metadata := run.metadata;
  v_new.dedupe_key := run.dedupe_key;
  v_new.dedupe_for := run.dedupe_for;
  v_new.priority := run.priority;
  v_new.max_attempts := run.max_attempts;
  if not _retry.reset_attempts then
    v_new.attempt := run.attempt;
    v_new.max_attempts := least(100, greatest(run.max_attempts, run.attempt + 1));
  end if;
  v_new.run_at := _retry.run_at;
  v_new.created_at := run.created_at;
  v_new.deadline := run.deadline;
  -- The run gets the time it had at first, counted from now; among many from when its turn is.
  v_new.deadline_at := case when _retry.among_many then _retry.run_at else v_now end + run.deadline;
  v_new.backoff := run.backoff;
  v_new.budget := run.budget;
  v_new.recovery_url := run.recovery_url;
  v_new.requested_by := run.requested_by;
  v_new.lane := run.lane;
  v_new.lane_key := run.lane_key;
  v_new.cost := run.cost;
  v_new.parent_id := run.parent_id;
  v_new.forked_from := run.forked_from;
  v_new.last_seq := run.last_seq + 1;
  v_new.started_at := run.started_at;
  v_new.worker := run.worker;
  v_new.error := run.error;
  if cardinality(tide._insert_runs(array[v_new], free => false)) = 0 then
    if _retry.among_many then
      return null;
    end if;
    raise exception 'run % cannot be retried: another active run of queue % has its dedupe key %',
        run.run_id, run.queue, quote_literal(run.dedupe_key)
      using errcode = 'TD023',
            hint = 'Wait for that run to end, or cancel it.';
  end if;
  if run.status = 'cancelled' and run.lease_id is not null then
    -- Its worker may not have learned of the end.
    perform tide._note_lost(run);
  end if;
  perform tide._write_told_events(array[run.run_id]);
  delete from tide.runs_finished as r
  where r.run_id = run.run_id;
  perform tide._undo_ending(run);
  perform tide._make_ready(run.queue, run.priority, _retry.run_at);
  perform tide._emit(
    array[run.run_id],
    array[v_new.last_seq],
    'run.retried',
    array[jsonb_build_object('actor', _retry.actor, 'from', run.status, 'run_at', _retry.run_at)]
  );
  v_run := (
    select r::tide.runs
    from tide.runs_active as r
    where r.run_id = run.run_id
  );
  return v_run;
end;
$$;

comment on function tide._retry is
  'Let a failed or cancelled run, locked by the caller, go on from its checkpoints. Dedupe key taken: '
  'TD023, or null among many, whose deadlines count from run_at.';
