create or replace function tide.patch_state(
  run_id uuid,
  patch jsonb,
  stream text default 'run',
  label text default null,
  reason text default null,
  importance text default 'normal',
  metadata jsonb default '{}',
  created_by text default null,
  expected_version integer default null,
  lease_id uuid default null,
  mode text default 'merge'
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
  v_stream constant text := tide._valid_text('stream', patch_state.stream, 256);
  v_options constant tide.state_versions := tide._version_options(
    patch_state.label,
    patch_state.reason,
    patch_state.importance,
    patch_state.metadata,
    patch_state.created_by
  );
  v_patch constant jsonb := tide._valid_payload('patch', patch_state.patch);
  v_mode constant text := tide._valid_choice('mode', patch_state.mode, '{merge,shallow}');
  v_run constant tide.runs := tide._lock_for(patch_state.run_id, patch_state.lease_id);
  v_value jsonb;
begin
  select s.value
  into v_value
  from tide.state_streams as s
  where s.run_id = v_run.run_id
    and s.stream = v_stream;
  if jsonb_typeof(v_patch) is distinct from 'object'
    or jsonb_typeof(coalesce(v_value, '{}')) <> 'object'
  then
    raise exception 'patch and state must be objects, not % and %',
        coalesce(jsonb_typeof(v_patch), 'null'),
        jsonb_typeof(coalesce(v_value, '{}'))
      using errcode = '22023',
            hint = 'Use set_state to replace a value of another type.';
  end if;
  return tide._write_state(
    v_run,
    v_stream,
    tide._valid_payload(
      'value',
      case v_mode
        when 'merge' then tide._merge_patch(v_value, v_patch)
        else coalesce(v_value, '{}') || v_patch
      end
    ),
    patch_state.expected_version,
    v_options,
    'state.updated'
  );
end;
$$;

comment on function tide.patch_state is
  'Merge an object into a state stream as RFC 7396 says: recursively, null deletes; mode shallow '
  'replaces keys of the first level only and keeps null. Objects only; another version than expected: '
  'TD021. lease_id fences a worker.';
