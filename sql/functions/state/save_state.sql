create or replace function tide.save_state(
  run_id uuid,
  label text,
  stream text default 'run',
  reason text default null,
  importance text default 'milestone',
  metadata jsonb default '{}',
  created_by text default null,
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
  v_stream constant text := tide._valid_text('stream', save_state.stream, 256);
  v_options constant tide.state_versions := tide._version_options(
    tide._valid_text('label', save_state.label, 256),
    save_state.reason,
    save_state.importance,
    save_state.metadata,
    save_state.created_by
  );
  v_run constant tide.runs := tide._lock_for(save_state.run_id, save_state.lease_id);
  v_value jsonb;
begin
  select s.value
  into v_value
  from tide.state_streams as s
  where s.run_id = v_run.run_id
    and s.stream = v_stream;
  if not found then
    raise exception 'run % has no state stream %', v_run.run_id, quote_literal(v_stream)
      using errcode = 'TD010',
            hint = 'Write it with set_state first.';
  end if;
  return tide._write_state(v_run, v_stream, v_value, null, v_options, 'state.saved');
end;
$$;

comment on function tide.save_state is
  'Label the current value of a state stream: the same value as a new version. No such stream: TD010.';
