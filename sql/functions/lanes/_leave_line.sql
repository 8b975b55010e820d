create or replace function tide._leave_line(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_wait tide.lane_waits;
  v_run tide.runs;
begin
  delete from tide.lane_waits as w
  where w.run_id = _leave_line.run_id
  returning w.* into v_wait;
  update tide.runs_active as r
  set
    ready = coalesce(v_wait.due_at, v_wait.run_at) <= tide._now(),
    waiting_on = null,
    waiting_for = null,
    run_at = coalesce(v_wait.due_at, v_wait.run_at),
    turn_at = case when v_wait.due_at is not null then v_wait.run_at end
  where r.run_id = _leave_line.run_id
  returning r.* into v_run;
  if v_wait.due_at is not null then
    perform tide._make_ready(v_run.queue, 0, least(v_run.turn_at, tide._now()));
  else
    perform tide._make_ready(v_run.queue, v_run.priority, v_run.run_at);
  end if;
  if v_run.ready and v_run.turn_at is null and (tide._find_lane(v_run.lane)).fair then
    perform tide._give_turns(
      v_run.lane, coalesce(v_run.lane_key, ''), v_run.queue, array[v_run.run_id]
    );
  end if;
  return v_run;
end;
$$;

comment on function tide._leave_line is
  'Give a run that waits in a line of its lane, locked by the caller, its place in its queue back.';
