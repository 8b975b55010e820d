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
begin
  perform tide._require_read_committed('send_event');
  perform tide._require_run(send_event.run_id);
  perform tide._send_event(tide._lock_active(send_event.run_id), v_name, v_payload);
  return true;
end;
$$;

comment on function tide.send_event is
  'Send an active run an event by name. Events of one name form a mailbox: each is heard once, in the '
  'order of sending, and kept until the run waits for it. Returns true.';
