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
  v_signal tide.signals;
begin
  perform tide._require_read_committed('send_event');
  perform tide._require_run(send_event.run_id);
  v_run := tide._lock_active(send_event.run_id);
  insert into tide.signals as s (run_id, name, seq, payload, created_at)
  values (
    v_run.run_id,
    v_name,
    coalesce(
      (
        select max(e.seq)
        from tide.signals as e
        where e.run_id = v_run.run_id
          and e.name = v_name
      ),
      0
    ) + 1,
    v_payload,
    tide._now()
  )
  returning s.* into v_signal;
  -- Parked on it or not: who has begun to wait must not time out any more.
  select w.*
  into v_wait
  from tide.waits as w
  where w.run_id = v_run.run_id
    and w.kind = 'event'
    and coalesce(w.event, w.name) = v_name
    and w.status = 'pending'
  order by w.created_at, w.name
  limit 1;
  if found then
    v_wait := tide._hear(v_wait, v_signal);
    if v_run.waiting_on = 'event' and v_run.waiting_for = v_wait.name then
      perform tide._resume(
        v_run, jsonb_build_object('waited_on', 'event', 'name', v_name, 'status', 'received')
      );
    end if;
  end if;
  return true;
end;
$$;

comment on function tide.send_event is
  'Send an active run an event by name. Events of one name form a mailbox: each is heard once, in the '
  'order of sending, and kept until the run waits for it. Returns true.';
