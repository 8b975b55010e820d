create or replace function tide._send_event(run tide.runs, name text, payload jsonb)
returns void
language plpgsql
volatile
as $$
declare
  v_wait tide.waits;
  v_signal tide.signals;
begin
  insert into tide.signals as s (run_id, name, seq, payload, created_at)
  values (
    run.run_id,
    _send_event.name,
    coalesce(
      (
        select max(e.seq)
        from tide.signals as e
        where e.run_id = run.run_id
          and e.name = _send_event.name
      ),
      0
    ) + 1,
    _send_event.payload,
    tide._now()
  )
  returning s.* into v_signal;
  -- Parked on it or not: who has begun to wait must not time out any more.
  v_wait := (
    select w
    from tide.waits as w
    where w.run_id = run.run_id
      and w.kind = 'event'
      and coalesce(w.event, w.name) = _send_event.name
      and w.status = 'pending'
    order by w.created_at, w.name
    limit 1
  );
  if v_wait.run_id is not null then
    v_wait := tide._hear(v_wait, v_signal);
    if run.waiting_on = 'event' and run.waiting_for = v_wait.name then
      perform tide._resume(
        run,
        jsonb_build_object(
          'waited_on', 'event', 'name', _send_event.name, 'status', 'received'
        )
      );
    end if;
  end if;
end;
$$;

comment on function tide._send_event is
  'Put an event into the mailbox of a locked active run, and wake the run where it waits for it.';
