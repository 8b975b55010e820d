create or replace function tide.set_state(
  run_id uuid,
  value jsonb,
  stream text default 'run',
  label text default null,
  reason text default null,
  importance text default 'normal',
  metadata jsonb default '{}',
  created_by text default null,
  expected_version integer default null,
  lease_id uuid default null
)
returns tide.state_versions
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_stream constant text := tide._valid_text('stream', set_state.stream, 256);
  v_options constant tide.state_versions := tide._version_options(
    set_state.label,
    set_state.reason,
    set_state.importance,
    set_state.metadata,
    set_state.created_by
  );
  v_value constant jsonb := coalesce(tide._valid_payload('value', set_state.value), 'null');
  v_run constant tide.runs := tide._lock_for(set_state.run_id, set_state.lease_id);
begin
  return tide._write_state(
    v_run, v_stream, v_value, set_state.expected_version, v_options, 'state.updated'
  );
end;
$$;

comment on function tide.set_state is
  'Replace the value of a state stream of an active run; every write is a version. expected_version 0 = '
  'not written yet; another: TD021. lease_id fences a worker.';
