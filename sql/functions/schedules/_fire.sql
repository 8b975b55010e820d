-- The ledger row comes first: whoever finds it written enqueues nothing. With the run and the
-- schedule's next time in the same transaction, a crash anywhere leaves all of it or nothing.
create or replace function tide._fire(
  schedule tide.schedules,
  fire_at timestamptz,
  outcome text,
  requested_by text
)
returns tide.schedule_fires
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_at constant text := to_char(
    _fire.fire_at at time zone 'UTC',
    case _fire.outcome
      when 'by_hand' then 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
      else 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
    end
  );
  v_run tide.new_run;
  v_fire tide.schedule_fires;
  v_answer tide.enqueued;
begin
  v_run.run_id := tide._uuid7();
  insert into tide.schedule_fires as f (schedule, fire_at, outcome, run_id, created_at)
  values (schedule.schedule, _fire.fire_at, _fire.outcome, v_run.run_id, v_now)
  on conflict on constraint schedule_fires_pkey do nothing
  returning f.* into v_fire;
  if not found then
    return null;
  end if;
  if _fire.outcome = 'enqueued' and schedule.overlap = 'skip' and tide._is_active(schedule) then
    update tide.schedule_fires as f
    set
      outcome = 'overlap',
      run_id = null
    where f.schedule = schedule.schedule
      and f.fire_at = _fire.fire_at
    returning f.* into v_fire;
    return v_fire;
  end if;

  v_run.workflow := schedule.workflow;
  v_run.queue := schedule.queue;
  v_run.dedupe_key := format('sched:%s:%s', schedule.schedule, v_at);
  v_run.priority := schedule.priority;
  v_run.lane := schedule.lane;
  v_run.lane_key := schedule.lane_key;
  v_run.cost := schedule.cost;
  v_run.also_lanes := schedule.also_lanes;
  v_run.max_attempts := coalesce(
    schedule.max_attempts,
    (
      select q.max_attempts
      from tide.queues as q
      where q.queue = schedule.queue
    ),
    1
  );
  v_run.created_at := v_now;
  v_run.run_at := v_now;
  v_run.told_events := 1;
  v_run.on_conflict := 'return';
  v_run.requested_by := _fire.requested_by;
  v_run.deadline := schedule.deadline;
  v_run.deadline_at := v_now + schedule.deadline;
  v_run.input := tide._valid_payload('input', schedule.input);
  v_run.metadata := schedule.metadata
    || jsonb_build_object('schedule', schedule.schedule, 'fire_at', v_at);
  v_answer := tide._enqueue(v_run);
  update tide.schedule_fires as f
  set run_id = v_answer.run_id
  where f.schedule = schedule.schedule
    and f.fire_at = _fire.fire_at
  returning f.* into v_fire;
  return v_fire;
end;
$$;

comment on function tide._fire is
  'Fire a locked schedule for one time: ledger, then run; null when that time was fired before.';
