create or replace function tide._resume(
  run tide.runs,
  payload jsonb,
  run_at timestamptz default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_at constant timestamptz := greatest(v_now, _resume.run_at);
  v_seq integer;
begin
  if run.waiting_on is null then
    return;
  end if;
  update tide.runs_active as r
  set
    waiting_on = null,
    waiting_for = null,
    run_at = v_run_at,
    ready = r.queue is not null and v_run_at <= v_now,
    recover_at = case when r.recovery_url is not null and r.queue is null then v_now end,
    last_seq = r.last_seq + 1
  where r.run_id = run.run_id
  returning r.last_seq into v_seq;
  perform tide._make_ready(run.queue, run.priority, v_run_at);
  if run.lane is not null then
    perform tide._line_up(array[run.run_id]);
  end if;
  perform tide._emit(array[run.run_id], array[v_seq], 'run.resumed', array[_resume.payload]);
end;
$$;

comment on function tide._resume is
  'Wake a parked run the caller has locked: it may be claimed again, not before run_at.';
