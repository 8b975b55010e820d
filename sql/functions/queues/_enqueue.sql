-- Reads first: an insert would wait for any open transaction that updated the run with this key.
-- When the insert meets a run that is gone in the next look, another round goes on; each further
-- round takes another run's whole life, so the bound is never met by chance.
create or replace function tide._enqueue(
  run tide.runs,
  on_conflict text,
  given_id boolean,
  channels jsonb default null
)
returns tide.enqueued
language plpgsql
volatile
as $$
declare
  v_active tide.runs;
  v_answer tide.enqueued;
begin
  if run.dedupe_key is not null or given_id then
    perform tide._require_read_committed('enqueue with a dedupe key or a run_id');
  end if;
  if run.dedupe_key is not null then
    if given_id and tide._made_before(run.run_id, run.workflow, run.input, inserted => false) then
      v_active := tide._find_run(run.run_id);
      return (v_active.run_id, false, v_active.status)::tide.enqueued;
    end if;
  end if;

  for v_round in 1..10 loop
    if run.dedupe_key is not null then
      select r.*
      into v_active
      from tide.runs_active as r
      where r.queue = run.queue
        and r.dedupe_key = run.dedupe_key
        and r.dedupe_key is not null
        and r.status <> 'pending';
      if found then
        v_answer := tide._enqueue_again(run, v_active, on_conflict, channels);
        if v_answer.run_id is not null then
          return v_answer;
        end if;
      end if;
    end if;

    insert into tide.runs_active (
      run_id, workflow, queue, status, dedupe_key, priority, max_attempts, last_seq,
      told_events, ready, run_at, created_at, deadline_at, input, metadata, backoff, deadline,
      budget
    )
    values (
      run.run_id,
      run.workflow,
      run.queue,
      'queued',
      run.dedupe_key,
      run.priority,
      run.max_attempts,
      1,
      1,
      run.ready,
      run.run_at,
      run.created_at,
      run.deadline_at,
      run.input,
      run.metadata,
      run.backoff,
      run.deadline,
      run.budget
    )
    on conflict do nothing;
    if found then
      -- A given id may be that of a run that has ended.
      if given_id
        and tide._made_before(run.run_id, run.workflow, run.input, inserted => true)
      then
        v_active := tide._find_run(run.run_id);
        return (v_active.run_id, false, v_active.status)::tide.enqueued;
      end if;
      -- With a newer snapshot than the insert had: who went idle meanwhile is found.
      if channels is not null
        or run.run_at < run.created_at
        or exists (
          select
          from tide.waiters as w
          where w.queue = run.queue
        )
      then
        if run.ready and run.run_at < run.created_at then
          perform tide._lower_floor(run.queue, run.priority, run.run_at, run.run_id);
        end if;
        if run.ready or run.run_at < tide._soon() then
          perform tide._wake_workers(run.queue, 1);
        end if;
        if channels is not null then
          perform tide._add_channels(run.run_id, channels);
          perform tide._tell(array[run.run_id], array[1], 'run.enqueued');
        end if;
      end if;
      return (run.run_id, false, 'queued')::tide.enqueued;
    end if;
    if given_id
      and tide._made_before(run.run_id, run.workflow, run.input, inserted => false)
    then
      v_active := tide._find_run(run.run_id);
      return (v_active.run_id, false, v_active.status)::tide.enqueued;
    end if;
  end loop;
  raise exception 'dedupe key % of queue % is taken and freed faster than a run can be made',
      quote_literal(run.dedupe_key), run.queue
    using errcode = '40001',
          hint = 'Call again.';
end;
$$;

comment on function tide._enqueue is
  'Insert a queued run whose values are checked, or settle the conflict over its dedupe key.';
