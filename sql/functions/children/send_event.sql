create or replace function tide.send_event(
  run_id uuid,
  name text,
  payload jsonb default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_name constant text := tide._valid_text('name', send_event.name, 256);
  v_payload constant jsonb := tide._valid_payload('payload', send_event.payload);
  v_run tide.runs;
  v_wait tide.waits;
begin
  perform tide._require_read_committed('send_event');
  perform tide._require_run(send_event.run_id);
  v_run := tide._lock_active(send_event.run_id);
  insert into tide.signals (run_id, name, payload, created_at)
  values (v_run.run_id, v_name, v_payload, tide._now())
  on conflict on constraint signals_pkey do nothing;
  if not found then
    return false;
  end if;
  -- Parked on it or not: whoever has begun to wait must not time out any more.
  v_wait.run_id := v_run.run_id;
  v_wait.kind := 'event';
  v_wait.name := v_name;
  perform tide._end_wait(v_wait, 'received', v_payload);
  if v_run.waiting_on = 'event' and v_run.waiting_for = v_name then
    perform tide._resume(
      v_run, jsonb_build_object('waited_on', 'event', 'name', v_name, 'status', 'received')
    );
  end if;
  return true;
end;
$$;

comment on function tide.send_event is
  'Send an active run an event by name; the first one counts and is kept until the run waits for it. '
  'Returns whether this was the first.';
