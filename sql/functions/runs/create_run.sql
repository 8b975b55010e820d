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
  channels jsonb default '[]'
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
  v_run_id constant uuid := coalesce(create_run.run_id, tide._uuid7());
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
begin
  if create_run.run_id is not null then
    perform tide._require_read_committed('create_run with a run_id');
  end if;
  insert into tide.runs_active as r (
    run_id, workflow, status, max_attempts, last_seq, run_at, created_at, deadline_at,
    input, metadata, backoff, deadline, budget, recovery_url
  )
  values (
    v_run_id,
    tide._valid_name('workflow', create_run.workflow),
    'pending',
    tide._valid_integer('max_attempts', create_run.max_attempts, 1, 100),
    1,
    v_now,
    v_now,
    v_now + tide._valid_deadline(create_run.deadline),
    coalesce(tide._valid_payload('input', create_run.input), '{}'),
    tide._valid_metadata('metadata', create_run.metadata),
    tide._valid_backoff(create_run.backoff),
    tide._valid_deadline(create_run.deadline),
    tide._valid_budget(create_run.budget),
    case
      when create_run.recovery_url is not null
        then tide._valid_url('recovery_url', create_run.recovery_url)
    end
  )
  on conflict do nothing
  returning r.* into v_run;
  if create_run.run_id is not null
    and tide._made_before(v_run_id, create_run.workflow, create_run.input, inserted => found)
  then
    return tide._find_run(v_run_id);
  end if;
  if create_run.channels <> '[]' then
    perform tide._add_channels(v_run_id, create_run.channels);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[1],
    'run.created',
    array[
      jsonb_build_object('workflow', v_run.workflow, 'max_attempts', v_run.max_attempts)
    ]
  );
  return v_run;
end;
$$;

comment on function tide.create_run is
  'Make a pending run, begun by its id; the same run_id again returns the run it made. recovery_url is '
  'asked to resume the run when it stalls; channels are sent its events.';
