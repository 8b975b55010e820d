create or replace function tide._leave_line(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run_at timestamptz;
  v_run tide.runs;
begin
  delete from tide.lane_waits as w
  where w.run_id = _leave_line.run_id
  returning w.run_at into v_run_at;
  update tide.runs_active as r
  set
    ready = v_run_at <= tide._now(),
    waiting_on = null,
    waiting_for = null,
    run_at = v_run_at
  where r.run_id = _leave_line.run_id
  returning r.* into v_run;
  perform tide._make_ready(v_run.queue, v_run.priority, v_run.run_at);
  return v_run;
end;
$$;

comment on function tide._leave_line is
  'Give a run that waits in a line of its lane, locked by the caller, its place in its queue back.';
