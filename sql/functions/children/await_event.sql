create or replace function tide.await_event(
  run_id uuid,
  lease_id uuid,
  name text,
  timeout interval default null,
  wait text default null
)
returns table (parked boolean, received boolean, payload jsonb)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', await_event.name, 256);
  v_wait_name constant text := tide._valid_text(
    'wait', coalesce(await_event.wait, await_event.name), 256
  );
  v_timeout constant interval := tide._valid_timeout(await_event.timeout);
  v_run constant tide.runs := tide._hold(await_event.run_id, await_event.lease_id);
  v_wait tide.waits;
  v_signal tide.signals;
begin
  perform tide._require_read_committed('await_event');
  v_wait := tide._wait(v_run, 'event', v_wait_name, v_timeout, v_name);
  if v_wait.status = 'pending' then
    v_signal := (
      select s
      from tide.signals as s
      where s.run_id = v_run.run_id
        and s.name = v_name
        and s.heard_by is null
      order by s.seq
      limit 1
    );
    if v_signal.run_id is not null then
      v_wait := tide._hear(v_wait, v_signal);
    elsif v_wait.due_at <= tide._now() then
      v_wait := tide._end_wait(v_wait, 'timed_out', null);
    else
      perform tide._refuse_overdue(v_run);
      perform tide._park(
        v_run, 'event', v_wait_name, jsonb_build_object('due_at', v_wait.due_at)
      );
    end if;
  end if;
  return query
  select
    v_wait.status = 'pending',
    v_wait.status = 'received',
    v_wait.payload;
end;
$$;

comment on function tide.await_event is
  'The oldest event of a name not yet heard, or park the run until one comes (parked = true: drop it) '
  'or the timeout is over (received = false). Each wait hears one event and replays it; wait names it, '
  'default as the event.';
