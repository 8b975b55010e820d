create or replace function tide_harness.record_effect(
  run_id text,
  tool_call_id text,
  status text,
  record json
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run constant tide_harness.runs := tide_harness._run(record_effect.run_id, null);
begin
  insert into tide_harness.effects as e (run_no, tool_call_id, status, record)
  values (
    v_run.run_no, record_effect.tool_call_id, record_effect.status, record_effect.record
  )
  on conflict on constraint effects_pkey do update
  set
    status = excluded.status,
    record = excluded.record;
end;
$$;

comment on function tide_harness.record_effect is
  'Keep what is known of a call of a tool, in place of what was known before.';
