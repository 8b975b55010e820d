create or replace function tide_harness.append_event(
  run_id text,
  record json,
  conversation_id text default null,
  idempotency_key text default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run constant tide_harness.runs := tide_harness._run(
    append_event.run_id, append_event.conversation_id
  );
begin
  insert into tide_harness.events (run_no, idempotency_key, record)
  values (v_run.run_no, append_event.idempotency_key, append_event.record)
  on conflict do nothing;
end;
$$;

comment on function tide_harness.append_event is
  'Append an event to a run; one with a key that is there already is left out.';
