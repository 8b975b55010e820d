create or replace function tide.enqueue(
  workflow text,
  input jsonb default '{}',
  queue text default 'default',
  dedupe_key text default null,
  priority integer default 0,
  delay interval default null,
  run_at timestamptz default null,
  max_attempts integer default null,
  deadline interval default null,
  metadata jsonb default '{}',
  on_conflict text default 'return',
  budget jsonb default null,
  run_id uuid default null,
  backoff jsonb default null,
  channels jsonb default null,
  recovery_url text default null,
  key_hash bytea default null,
  lane text default null,
  lane_key text default null,
  after uuid[] default null,
  after_mode text default null,
  after_failure text default null,
  debounce interval default null,
  dedupe_for interval default null,
  cost numeric default null,
  also_lanes jsonb default null
)
returns tide.enqueued
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.new_run;
  v_restricted boolean;
begin
  -- One statement is cheaper than as many assignments.
  select
    coalesce(enqueue.run_id, tide._uuid7()),
    enqueue.run_id is not null,
    tide._valid_name('workflow', enqueue.workflow),
    tide._valid_name('queue', enqueue.queue),
    coalesce(tide._valid_payload('input', enqueue.input), '{}'),
    v_now,
    v_now,
    0,
    1,
    '{}'::jsonb,
    enqueue.on_conflict,
    coalesce(
      (
        select q.max_attempts
        from tide.queues as q
        where q.queue = enqueue.queue
      ),
      1
    ),
    exists (
      select
      from tide.queue_grants as g
      where g.queue = enqueue.queue
    )
  into
    v_run.run_id,
    v_run.given_id,
    v_run.workflow,
    v_run.queue,
    v_run.input,
    v_run.created_at,
    v_run.run_at,
    v_run.priority,
    v_run.told_events,
    v_run.metadata,
    v_run.on_conflict,
    v_run.max_attempts,
    v_restricted;
  -- Most calls give none of these.
  if v_restricted
    or enqueue.on_conflict is distinct from 'return'
    or enqueue.priority <> 0
    or enqueue.metadata <> '{}'
    or num_nonnulls(
      enqueue.delay, enqueue.run_at, enqueue.max_attempts, enqueue.deadline, enqueue.dedupe_key,
      enqueue.budget, enqueue.backoff, enqueue.recovery_url, enqueue.key_hash, enqueue.lane,
      enqueue.lane_key, enqueue.after, enqueue.after_mode, enqueue.after_failure,
      enqueue.debounce, enqueue.dedupe_for, enqueue.cost, enqueue.also_lanes
    ) > 0
  then
    if v_restricted then
      perform tide._require_queue(v_run.queue, 'enqueue');
    end if;
    if (enqueue.on_conflict in ('return', 'replace', 'raise', 'cancel')) is not true then
      raise exception 'on_conflict is not known: %',
          coalesce(quote_literal(left(enqueue.on_conflict, 200)), 'null')
        using errcode = '22023',
              hint = 'Give return, replace, raise or cancel.';
    end if;
    v_run.priority := coalesce(tide._valid_priority(enqueue.priority), 0);
    v_run.run_at := tide._valid_start(
      v_now, enqueue.delay, enqueue.run_at, deadline => enqueue.deadline
    );
    v_run.deadline := tide._valid_deadline(enqueue.deadline);
    v_run.deadline_at := v_now + v_run.deadline;
    v_run.metadata := tide._valid_metadata('metadata', enqueue.metadata);
    v_run.budget := tide._valid_budget(enqueue.budget);
    v_run.backoff := tide._valid_backoff(enqueue.backoff);
    if enqueue.max_attempts is not null then
      v_run.max_attempts := tide._valid_integer('max_attempts', enqueue.max_attempts, 1, 100);
    end if;
    if enqueue.dedupe_key is not null then
      v_run.dedupe_key := tide._valid_text('dedupe_key', enqueue.dedupe_key, 512);
    end if;
    if enqueue.dedupe_for is not null then
      v_run.dedupe_for := tide._valid_dedupe_for('', enqueue.dedupe_for, v_run.dedupe_key);
    end if;
    if num_nonnulls(enqueue.lane, enqueue.lane_key, enqueue.cost, enqueue.also_lanes) > 0 then
      v_run.lane := tide._valid_lane(v_run.queue, enqueue.lane, enqueue.lane_key);
      v_run.lane_key := enqueue.lane_key;
      v_run.cost := tide._valid_cost(v_run.lane, v_run.lane_key, enqueue.cost);
      v_run.also_lanes := tide._valid_also_lanes(v_run.queue, v_run.lane, enqueue.also_lanes);
    end if;
    if enqueue.recovery_url is not null then
      perform tide._require_urls(v_run.queue);
      v_run.recovery_url := tide._valid_url('recovery_url', enqueue.recovery_url);
    end if;
    if enqueue.debounce is not null then
      v_run.debounce := tide._valid_debounce(
        '',
        enqueue.debounce,
        v_run.dedupe_key,
        num_nonnulls(enqueue.delay, enqueue.run_at) > 0,
        enqueue.on_conflict
      );
      v_run.on_conflict := 'replace';
    end if;
    if num_nonnulls(enqueue.after, enqueue.after_mode, enqueue.after_failure) > 0 then
      v_run.after_mode := tide._valid_after(
        '',
        to_jsonb(enqueue.after),
        enqueue.after_mode,
        enqueue.after_failure,
        v_run.on_conflict
      );
      if v_run.run_id = any (enqueue.after) then
        raise exception 'after names run %, itself', v_run.run_id
          using errcode = '22023',
                hint = 'Name runs that were made before.';
      end if;
      if v_run.after_mode is not null then
        v_run.after := enqueue.after;
        v_run.after_failure := coalesce(enqueue.after_failure, 'cancel');
        v_run.told_events := 0;
      end if;
    end if;
    v_run.requested_by := tide._acting(tide._acting_key(enqueue.key_hash));
  end if;
  return tide._enqueue(v_run, enqueue.channels);
end;
$$;

comment on function tide.enqueue is
  'Queue a run. With a dedupe key, at most one run of the queue with that key is active: on_conflict '
  'return gives that run, replace gives it all that is new unless it has begun, raise is TD023, cancel '
  'ends that run and makes the new one. debounce, with delay, is replace that puts off the start to at '
  'most so long after the first enqueue. dedupe_for keeps the key taken for so long after the end of the '
  'run, which return and replace then give. run_id makes the call repeatable; channels are sent the '
  'events of the run. key_hash, the sha256 of its token, says which key of the HTTP door requests it. '
  'lane and lane_key are those of set_lane; a lane that is not set: TD010; cost = its units there, null = '
  '1; more than the lane allows: 22023; also_lanes = at most 4 further lanes, {lane, lane_key, cost} each, '
  'all of which it holds while it runs. after are runs that have to end first: all, or by after_mode any '
  'one that completes; after_failure says what it means that they did not complete: cancel (the default) '
  'or fail this run, or run it; one that does not exist: TD010.';
