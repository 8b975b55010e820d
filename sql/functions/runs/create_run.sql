create or replace function tide.create_run(
  workflow text,
  input jsonb default '{}',
  metadata jsonb default '{}',
  deadline interval default null,
  max_attempts integer default 1,
  budget jsonb default null,
  run_id uuid default null,
  backoff jsonb default null,
  recovery_url text default null,
  channels jsonb default '[]',
  key_hash bytea default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_input constant jsonb := coalesce(tide._valid_payload('input', create_run.input), '{}');
  v_now constant timestamptz := tide._now();
  v_run tide.new_run;
begin
  if create_run.run_id is not null then
    perform tide._require_read_committed('create_run with a run_id');
  end if;
  v_run.run_id := coalesce(create_run.run_id, tide._uuid7());
  v_run.given_id := create_run.run_id is not null;
  v_run.workflow := tide._valid_name('workflow', create_run.workflow);
  v_run.max_attempts := tide._valid_integer('max_attempts', create_run.max_attempts, 1, 100);
  v_run.priority := 0;
  v_run.run_at := v_now;
  v_run.created_at := v_now;
  v_run.deadline := tide._valid_deadline(create_run.deadline);
  v_run.deadline_at := v_now + v_run.deadline;
  v_run.input := v_input;
  v_run.metadata := tide._valid_metadata('metadata', create_run.metadata);
  v_run.backoff := tide._valid_backoff(create_run.backoff);
  v_run.budget := tide._valid_budget(create_run.budget);
  v_run.requested_by := tide._acting(tide._acting_key(create_run.key_hash));
  if create_run.recovery_url is not null then
    v_run.recovery_url := tide._valid_url('recovery_url', create_run.recovery_url);
  end if;
  if cardinality(tide._insert_runs(array[v_run], free => not v_run.given_id)) = 0
    and tide._repeats_run(v_run.run_id, v_run.workflow, v_input)
  then
    return tide._find_run(v_run.run_id);
  end if;
  if create_run.channels <> '[]' then
    perform tide._add_channels(v_run.run_id, create_run.channels);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[1],
    'run.created',
    array[
      jsonb_build_object('workflow', v_run.workflow, 'max_attempts', v_run.max_attempts)
    ]
  );
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.create_run is
  'Make a pending run, begun by its id; the same run_id again returns the run it made. recovery_url is '
  'asked to resume the run when it stalls; channels are sent its events. key_hash as '
  'enqueue.';
