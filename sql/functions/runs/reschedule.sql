create or replace function tide.reschedule(
  run_id uuid,
  run_at timestamptz,
  priority integer default null
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
  v_run_at constant timestamptz := tide._valid_time('run_at', reschedule.run_at);
  v_run tide.runs;
begin
  perform tide._require_read_committed('reschedule');
  perform tide._require_run(reschedule.run_id);
  v_run := tide._lock_run(reschedule.run_id);
  if v_run.status <> 'queued' or v_run.waiting_on not in ('lane', 'provider') then
    raise exception 'run % is % and cannot be rescheduled', v_run.run_id,
        case when v_run.waiting_on is null then v_run.status else 'parked' end
      using errcode = 'TD030',
            hint = 'Only queued runs that wait for their time or turn can be moved.';
  end if;
  if v_run_at > v_run.deadline_at then
    raise exception 'run_at lies beyond the deadline of run %: %', v_run.run_id, v_run_at
      using errcode = '22023',
            hint = format('Give a time before %s.', v_run.deadline_at);
  end if;
  if v_run.lane is not null then
    perform tide._leave_lane(v_run.run_id, v_run.lane, v_run.lane_key);
  end if;
  perform tide._write_told_events(array[v_run.run_id]);
  update tide.runs_active as r
  set
    run_at = v_run_at,
    ready = v_run_at <= tide._now(),
    turn_at = null,
    waiting_on = null,
    waiting_for = null,
    priority = coalesce(tide._valid_priority(reschedule.priority), r.priority),
    told_events = 0
  where r.run_id = v_run.run_id
  returning r.* into v_run;
  perform tide._make_ready(v_run.queue, v_run.priority, v_run.run_at);
  if v_run.lane is not null then
    perform tide._line_up(array[v_run.run_id]);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.reschedule is
  'Move a queued run to another time and, if given, another priority; any other run: TD030. '
  'Beyond its deadline: 22023.';
