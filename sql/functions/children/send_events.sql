-- By run_id, the order in which everything else locks several runs; for one run as they were given.
create or replace function tide.send_events(events jsonb)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_sent constant integer := tide._valid_elements(
    'events', send_events.events, '{run_id,name,payload}', 10000
  );
  v_event record;
begin
  perform tide._require_read_committed('send_events');
  for v_event in
    select
      tide._option_uuid(format('events[%s].run_id', e.place - 1), e.element -> 'run_id') as run_id,
      tide._valid_text(
        format('events[%s].name', e.place - 1),
        tide._option_text(format('events[%s].name', e.place - 1), e.element -> 'name', 256),
        256
      ) as name,
      tide._valid_payload(
        format('events[%s].payload', e.place - 1), nullif(e.element -> 'payload', 'null')
      ) as payload
    from jsonb_array_elements(send_events.events) with ordinality as e(element, place)
    order by
      1,
      e.place
  loop
    perform tide._require_run(v_event.run_id);
    perform tide._send_event(
      tide._lock_active(v_event.run_id), v_event.name, v_event.payload
    );
  end loop;
  return v_sent;
end;
$$;

comment on function tide.send_events is
  'Send events, an array of run_id, name and payload, to several active runs, all or none. Locks the runs '
  'in an order that deadlocks with nothing, whatever the order given; returns how many.';
