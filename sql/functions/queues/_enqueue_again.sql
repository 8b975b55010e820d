create or replace function tide._enqueue_again(
  run tide.new_run,
  active tide.runs,
  channels jsonb
)
returns tide.enqueued
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_run_at constant timestamptz := least(run.run_at, active.created_at + run.debounce);
begin
  if run.on_conflict = 'raise' then
    raise exception 'run % of queue % is active with dedupe key %',
        active.run_id, active.queue, quote_literal(active.dedupe_key)
      using errcode = 'TD023',
            detail = format('It is %s.', active.status),
            hint = 'Wait for it, or use on_conflict return or replace.';
  elsif run.on_conflict = 'cancel' then
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = active.run_id
      for no key update
    );
    if v_run.run_id is not null then
      perform tide._finish(
        array[v_run.run_id],
        'cancelled',
        reason => format('run %s was enqueued with its dedupe key', run.run_id),
        actor => coalesce(run.requested_by, session_user)
      );
      perform tide._stop_holder(v_run);
    end if;
    return null;
  elsif run.on_conflict = 'replace' then
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = active.run_id
      for no key update
    );
    if v_run.run_id is null then
      return null;
    elsif v_run.status <> 'queued'
      or v_run.started_at is not null
      or v_run.waiting_on not in ('lane', 'provider')
    then
      return (v_run.run_id, true, v_run.status)::tide.enqueued;
    end if;
    if v_run.lane is not null then
      perform tide._leave_lane(v_run.run_id, v_run.lane, v_run.lane_key);
    end if;
    perform tide._write_told_events(array[v_run.run_id]);
    update tide.runs_active as r
    set
      workflow = run.workflow,
      input = case when not tide._lies_apart(run.input) then run.input end,
      metadata = run.metadata,
      priority = run.priority,
      run_at = v_run_at,
      ready = v_run_at <= tide._now(),
      turn_at = null,
      waiting_on = null,
      waiting_for = null,
      lane = run.lane,
      lane_key = run.lane_key,
      cost = run.cost,
      max_attempts = run.max_attempts,
      deadline = run.deadline,
      deadline_at = run.deadline_at,
      backoff = run.backoff,
      budget = run.budget,
      recovery_url = run.recovery_url,
      requested_by = coalesce(run.requested_by, session_user),
      dedupe_for = run.dedupe_for,
      last_seq = r.last_seq + 1,
      told_events = 0
    where r.run_id = active.run_id
    returning r.* into v_run;
    delete from tide.run_inputs as i
    where i.run_id = v_run.run_id;
    if tide._lies_apart(run.input) then
      insert into tide.run_inputs (run_id, input)
      values (v_run.run_id, run.input);
    end if;
    if num_nonnulls(active.lane, run.lane) > 0 then
      delete from tide.run_lanes as o
      where o.run_id = v_run.run_id;
      perform tide._add_lanes(v_run.run_id, run.also_lanes);
    end if;
    delete from tide.channels as c
    where c.run_id = v_run.run_id
      and c.gate_id is null;
    perform tide._add_channels(v_run.run_id, _enqueue_again.channels);
    perform tide._make_ready(v_run.queue, v_run.priority, v_run.run_at);
    if v_run.lane is not null then
      perform tide._line_up(array[v_run.run_id]);
    end if;
    perform tide._emit(
      array[v_run.run_id],
      array[v_run.last_seq],
      'run.enqueued',
      array[tide._enqueued_event(
        v_run.workflow, v_run.queue, v_run.priority, v_run.run_at, v_run.max_attempts
      ) || '{"replaced": true}']
    );
  end if;
  return (active.run_id, true, active.status)::tide.enqueued;
end;
$$;

comment on function tide._enqueue_again is
  'Answer an enqueue whose dedupe key is taken by an active run; null when that run has just ended, '
  'also by this.';
