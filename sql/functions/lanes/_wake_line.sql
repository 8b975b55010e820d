-- Runs that somebody holds are passed over: who ends or moves one looks for the next itself. Those of
-- paused queues would use up the place of one that can run, so they go on too, and do not count.
create or replace function tide._wake_line(lane text, lane_key text, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_wait record;
  v_run tide.runs;
  v_woken integer := 0;
begin
  if tide._throttled_until(_wake_line.lane) is not null then
    return 0;
  end if;
  for v_wait in
    select w.run_id
    from tide.lane_waits as w
    where w.lane = _wake_line.lane
      and w.lane_key = _wake_line.lane_key
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1000
  loop
    exit when v_woken >= most;
    perform
    from tide.runs_active as r
    where r.run_id = v_wait.run_id
      and r.waiting_on = 'lane'
    for no key update skip locked;
    continue when not found;
    v_run := tide._leave_line(v_wait.run_id);
    perform
    from tide.queues as q
    where q.queue = v_run.queue
      and q.paused;
    if not found then
      v_woken := v_woken + 1;
    end if;
  end loop;
  return v_woken;
end;
$$;

comment on function tide._wake_line is
  'Let the first runs that wait in a line of a lane, higher priority and earlier run_at first, be '
  'claimed, of a throttled lane none. A claim that finds no place for one parks it again.';
