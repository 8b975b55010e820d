create or replace function tide.create_snapshot(
  run_id uuid,
  label text,
  state jsonb,
  target jsonb default null,
  reason text default null,
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
  v_options constant tide.state_versions := tide._version_options(
    tide._valid_text('label', create_snapshot.label, 256),
    create_snapshot.reason,
    'milestone',
    create_snapshot.metadata,
    create_snapshot.created_by
  );
  v_state constant jsonb := coalesce(
    tide._valid_payload('state', create_snapshot.state), 'null'
  );
  v_stream text := 'run:' || create_snapshot.run_id::text;
  v_run constant tide.runs := tide._lock_for(
    create_snapshot.run_id, create_snapshot.lease_id
  );
begin
  if create_snapshot.target is not null then
    perform tide._known_keys('target', create_snapshot.target, '{type,id}');
    v_stream := tide._valid_text(
      'target.type',
      tide._option_text('target.type', create_snapshot.target -> 'type', 100),
      100
    ) || ':' || tide._valid_text(
      'target.id',
      tide._option_text('target.id', create_snapshot.target -> 'id', 150),
      150
    );
  end if;
  return tide._write_state(v_run, v_stream, v_state, null, v_options, 'snapshot.created');
end;
$$;

comment on function tide.create_snapshot is
  'Keep a labelled picture of something, {"type", "id"}, the run itself by default, in a stream of '
  'its own beside the state of the run.';
