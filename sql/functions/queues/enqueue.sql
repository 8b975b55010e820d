-- A good name and a small input and nothing else, which most calls from SQL give, are one insert,
-- which no conflict can meet, and a look at who waits, with a newer snapshot, so that who went idle
-- meanwhile is found. The driver gives an id too, to be able to repeat its call, and goes on below.
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
  channels jsonb default null
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
  v_run_id constant uuid := coalesce(enqueue.run_id, tide._uuid7());
  v_run tide.runs;
  v_restricted boolean;
begin
  if num_nonnulls(
      enqueue.dedupe_key, enqueue.delay, enqueue.run_at, enqueue.max_attempts, enqueue.deadline,
      enqueue.budget, enqueue.run_id, enqueue.backoff, enqueue.channels
    ) = 0
    and enqueue.priority = 0
    and enqueue.metadata = '{}'
    and enqueue.on_conflict = 'return'
    and tide._is_name(enqueue.workflow)
    and tide._is_name(enqueue.queue)
    and tide._is_small(enqueue.input)
  then
    insert into tide.runs_active (
      run_id, workflow, queue, status, max_attempts, last_seq, told_events, ready, run_at,
      created_at, input
    )
    select
      v_run_id,
      enqueue.workflow,
      enqueue.queue,
      'queued',
      coalesce(
        (
          select q.max_attempts
          from tide.queues as q
          where q.queue = enqueue.queue
        ),
        1
      ),
      1,
      1,
      true,
      v_now,
      v_now,
      enqueue.input
    where not exists (
      select
      from tide.queue_grants as g
      where g.queue = enqueue.queue
    );
    if found then
      if exists (
        select
        from tide.waiters as w
        where w.queue = enqueue.queue
      ) then
        perform tide._wake_workers(enqueue.queue, 1);
      end if;
      return (v_run_id, false, 'queued')::tide.enqueued;
    end if;
  end if;

  v_run.run_id := v_run_id;
  v_run.workflow := tide._valid_name('workflow', enqueue.workflow);
  v_run.queue := tide._valid_name('queue', enqueue.queue);
  -- One statement is cheaper than as many assignments.
  select
    v_now,
    v_now,
    true,
    0,
    '{}'::jsonb,
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
    v_run.created_at,
    v_run.run_at,
    v_run.ready,
    v_run.priority,
    v_run.metadata,
    v_run.max_attempts,
    v_restricted;
  if v_restricted then
    perform tide._require_queue(v_run.queue, 'enqueue');
  end if;
  v_run.input := coalesce(tide._valid_payload('input', enqueue.input), '{}');
  -- Most calls give none of these.
  if enqueue.priority <> 0
    or enqueue.metadata <> '{}'
    or num_nonnulls(
      enqueue.delay, enqueue.run_at, enqueue.max_attempts, enqueue.deadline, enqueue.dedupe_key,
      enqueue.budget, enqueue.backoff
    ) > 0
  then
    v_run.priority := coalesce(tide._valid_priority(enqueue.priority), 0);
    v_run.run_at := tide._valid_start(
      v_now, enqueue.delay, enqueue.run_at, deadline => enqueue.deadline
    );
    v_run.ready := v_run.run_at <= v_now;
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
  end if;
  if (enqueue.on_conflict in ('return', 'replace', 'raise')) is not true then
    raise exception 'on_conflict is not known: %',
        coalesce(quote_literal(left(enqueue.on_conflict, 200)), 'null')
      using errcode = '22023',
            hint = 'Give return, replace or raise.';
  end if;
  return tide._enqueue(
    v_run, enqueue.on_conflict, enqueue.run_id is not null, enqueue.channels
  );
end;
$$;

comment on function tide.enqueue is
  'Queue a run. With a dedupe key, at most one run of the queue with that key is active: on_conflict '
  'return gives that run, replace gives it all that is new unless it has begun, '
  'raise is TD023. run_id makes the call repeatable; channels are sent the events of the run.';
