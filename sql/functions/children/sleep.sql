create or replace function tide.sleep(
  run_id uuid,
  lease_id uuid,
  name text,
  duration interval
)
returns table (parked boolean, due_at timestamptz)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', sleep.name, 256);
  v_duration constant interval := tide._valid_interval(
    'duration', sleep.duration, '0', '3650 days'
  );
  v_run constant tide.runs := tide._hold(sleep.run_id, sleep.lease_id);
  v_wait tide.waits;
begin
  perform tide._require_read_committed('sleep');
  v_wait := tide._wait(v_run, 'timer', v_name, v_duration);
  if v_wait.status = 'pending' and v_wait.due_at <= tide._now() then
    v_wait := tide._end_wait(v_wait, 'over', null);
  elsif v_wait.status = 'pending' then
    perform tide._refuse_overdue(v_run);
    perform tide._park(
      v_run, 'timer', v_name, jsonb_build_object('due_at', v_wait.due_at)
    );
    perform tide._make_ready(v_run.queue, v_run.priority, v_wait.due_at);
  end if;
  return query select v_wait.status = 'pending', v_wait.due_at;
end;
$$;

comment on function tide.sleep is
  'Let a leased run wait for a time without a worker: parked = true, drop the run. The time counts '
  'from the first call; once it is over the same name never waits again.';
