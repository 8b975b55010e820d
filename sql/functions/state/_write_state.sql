create or replace function tide._write_state(
  run tide.runs,
  stream text,
  value jsonb,
  expected_version integer,
  version tide.state_versions,
  event text
)
returns tide.state_versions
language plpgsql
volatile
as $$
declare
  v_version tide.state_versions := _write_state.version;
  v_now constant timestamptz := tide._now();
  v_current integer;
begin
  -- The run row is locked: nobody else writes a stream of this run.
  select s.version
  into v_current
  from tide.state_streams as s
  where s.run_id = run.run_id
    and s.stream = _write_state.stream;
  if expected_version is distinct from coalesce(v_current, 0) and expected_version is not null then
    raise exception 'stream % of run % is at version %, not %',
        quote_literal(_write_state.stream), run.run_id, coalesce(v_current, 0), expected_version
      using errcode = 'TD021',
            hint = 'Read the current value and decide again.';
  end if;
  insert into tide.state_streams as s (run_id, stream, version, value, updated_at)
  values (run.run_id, _write_state.stream, 1, _write_state.value, v_now)
  on conflict on constraint state_streams_pkey do update
  set
    version = s.version + 1,
    value = excluded.value,
    updated_at = excluded.updated_at
  returning s.version into v_current;
  v_version.run_id := run.run_id;
  v_version.stream := _write_state.stream;
  v_version.version := v_current;
  v_version.value := _write_state.value;
  v_version.created_at := v_now;
  insert into tide.state_versions (
    run_id, stream, version, value, label, reason, importance, metadata, created_by, created_at
  )
  values (
    v_version.run_id,
    v_version.stream,
    v_version.version,
    v_version.value,
    v_version.label,
    v_version.reason,
    v_version.importance,
    v_version.metadata,
    v_version.created_by,
    v_version.created_at
  );
  perform tide._log(
    run.run_id,
    event,
    jsonb_build_object(
      'stream', v_version.stream,
      'version', v_version.version,
      'label', v_version.label,
      'importance', v_version.importance
    ),
    renews => run.lease_id is not null
  );
  return v_version;
end;
$$;

comment on function tide._write_state is
  'Write the next version of a stream of a locked run and log it; another version than expected: TD021.';
