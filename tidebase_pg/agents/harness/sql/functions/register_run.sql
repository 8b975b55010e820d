create or replace function tide_harness.register_run(
  run_id text,
  record json,
  conversation_id text default null,
  parent_run_id text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run constant tide_harness.runs := tide_harness._run(
    register_run.run_id, register_run.conversation_id
  );
begin
  update tide_harness.runs as r
  set
    record = register_run.record,
    conversation_id = register_run.conversation_id,
    parent_run_id = register_run.parent_run_id
  where r.run_no = v_run.run_no
    and r.record is null;
  return found;
end;
$$;

comment on function tide_harness.register_run is
  'Keep what is known of a run; false, and nothing is changed, where it was registered before.';
