create or replace function tide.fork_run(
  run_id uuid,
  at_step text default null,
  input jsonb default null,
  overrides jsonb default '{}',
  fork_id uuid default null,
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
  v_input constant jsonb := tide._valid_payload('input', fork_run.input);
  v_now constant timestamptz := tide._now();
  v_old tide.runs;
  v_new tide.new_run;
  v_made tide.runs;
  v_step tide.steps;
  v_copied text[];
begin
  perform tide._require_read_committed('fork_run');
  perform tide._require_run(fork_run.run_id, 'enqueue');
  v_old := tide._keep_run(fork_run.run_id);
  v_step := (
    select s
    from tide.steps as s
    where s.run_id = v_old.run_id
      and s.name = fork_run.at_step
  );
  if v_step.name is null and fork_run.at_step is not null then
    raise exception 'run % has no step %', v_old.run_id, quote_literal(left(fork_run.at_step, 200))
      using errcode = 'TD010',
            hint = 'See describe_run for its steps.';
  end if;
  v_new.run_id := coalesce(fork_run.fork_id, tide._uuid7());
  v_new.given_id := fork_run.fork_id is not null;
  v_new.workflow := v_old.workflow;
  v_new.queue := v_old.queue;
  v_new.priority := v_old.priority;
  v_new.max_attempts := v_old.max_attempts;
  v_new.run_at := v_now;
  v_new.created_at := v_now;
  v_new.deadline := v_old.deadline;
  v_new.deadline_at := v_now + v_old.deadline;
  v_new.input := coalesce(v_input, (tide._with_input(v_old)).input);
  v_new.metadata := v_old.metadata;
  v_new.backoff := v_old.backoff;
  v_new.budget := v_old.budget;
  v_new.lane := v_old.lane;
  v_new.lane_key := v_old.lane_key;
  v_new.cost := v_old.cost;
  if v_old.lane is not null then
    v_new.lane := nullif(v_old.lane, '');
    v_new.also_lanes := tide._also_lanes(v_old.run_id);
  end if;
  v_new.forked_from := v_old.run_id;
  v_new.requested_by := tide._acting(tide._acting_key(fork_run.key_hash));
  if cardinality(tide._insert_runs(array[v_new], free => not v_new.given_id)) = 0
    and tide._repeats_run(v_new.run_id, v_new.workflow, v_new.input)
  then
    v_made := tide._find_run(v_new.run_id);
    if v_made.forked_from is distinct from v_old.run_id then
      raise exception 'fork_id % belongs to another run', v_new.run_id
        using errcode = 'TD020',
              hint = 'Make a new id.';
    end if;
    return v_made;
  end if;

  insert into tide.steps (
    run_id, name, status, attempt, replay, side_effects, idempotency_key, checkpoint_invariant,
    verified_by, timeout, input_hash, started_at, finished_at, output, decided_by, position
  )
  select
    v_new.run_id,
    s.name,
    s.status,
    s.attempt,
    s.replay,
    s.side_effects,
    s.idempotency_key,
    s.checkpoint_invariant,
    s.verified_by,
    s.timeout,
    s.input_hash,
    s.started_at,
    s.finished_at,
    case
      when fork_run.overrides ? s.name then fork_run.overrides -> s.name
      else s.output
    end,
    s.decided_by,
    -- Below every event of the fork, so that a fork of the fork copies them too.
    s.position - v_step.position
  from tide.steps as s
  where s.run_id = v_old.run_id
    and s.status = 'completed'
    and s.position < v_step.position;
  v_copied := array(
    select s.name
    from tide.steps as s
    where s.run_id = v_new.run_id
  );
  perform tide._known_keys(
    'overrides',
    coalesce(tide._valid_payload('overrides', fork_run.overrides), '{}'),
    v_copied
  );
  perform tide._copy_decisions(v_old.run_id, v_new.run_id, v_step.started_at);

  perform tide._make_ready(v_new.queue, v_new.priority, v_new.run_at);
  perform tide._emit(
    array[v_new.run_id],
    array[1],
    case when v_new.queue is null then 'run.created' else 'run.enqueued' end,
    array[
      tide._enqueued_event(
        v_new.workflow, v_new.queue, v_new.priority, v_new.run_at, v_new.max_attempts
      ) || jsonb_build_object(
        'forked_from', v_old.run_id, 'at_step', v_step.name, 'steps', to_jsonb(v_copied)
      )
    ]
  );
  return tide._find_run(v_new.run_id);
end;
$$;

comment on function tide.fork_run is
  'A new run with the checkpoints of another before a step (null = from the start, with none), outputs '
  'replaced by overrides (step name to output) and, if given, another input; the original stays as it '
  'is. Who forks requests the fork, with key_hash as enqueue. Unknown step: TD010.';
