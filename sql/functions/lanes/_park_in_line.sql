-- No event: the run has not begun, it waits for its turn as behind the cap of a queue.
create or replace function tide._park_in_line(run_ids uuid[], lane_key text)
returns void
language plpgsql
volatile
as $$
begin
  perform tide._write_told_events(_park_in_line.run_ids);
  insert into tide.lane_waits (run_id, lane, lane_key, priority, run_at)
  select
    r.run_id,
    r.lane,
    _park_in_line.lane_key,
    r.priority,
    r.run_at
  from tide.runs_active as r
  where r.run_id = any (_park_in_line.run_ids);
  update tide.runs_active as r
  set
    ready = false,
    waiting_on = 'lane',
    waiting_for = r.lane,
    run_at = null,
    told_events = 0
  where r.run_id = any (_park_in_line.run_ids);
end;
$$;

comment on function tide._park_in_line is
  'Take ready runs, locked by the caller, out of the order of claims until a place in a line is free.';
