create or replace function tide.begin_run(
  run_id uuid,
  worker text default null,
  lease interval default '60 seconds',
  resume boolean default false
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
  v_lease constant interval := tide._valid_lease(begin_run.lease);
  v_worker constant text := tide._valid_worker(begin_run.worker);
  v_run tide.runs;
  v_budget jsonb;
  v_now timestamptz;
  v_until timestamptz;
begin
  perform tide._require_read_committed('begin_run');
  perform tide._require_run(begin_run.run_id, 'claim');
  loop
    v_run := tide._lock_run(begin_run.run_id);
    exit when v_run.finished_at is null;
    if v_run.status = 'completed' then
      return tide._find_run(v_run.run_id);
    elsif v_run.status = 'failed' and v_run.queue is null and begin_run.resume then
      v_run := (
        select r::tide.runs
        from tide.runs_finished as r
        where r.run_id = begin_run.run_id
          and r.status = 'failed'
        for update
      );
      if v_run.run_id is not null then
        perform tide._retry(v_run, v_worker, reset_attempts => false, run_at => tide._now());
      end if;
    else
      -- Nobody's lease: _hold says what became of the run.
      return tide._hold(begin_run.run_id, null);
    end if;
  end loop;

  v_now := tide._now();
  v_until := tide._leased_until(
    v_run.run_id, v_run.lease_id, v_run.lease, v_run.leased_until
  );
  if v_run.deadline_at <= v_now then
    perform tide._finish(
      array[v_run.run_id], 'cancelled', reason => 'deadline', actor => 'tide'
    );
    return tide._find_run(v_run.run_id);
  elsif v_run.status = 'queued' and v_run.waiting_on is distinct from 'push' then
    raise exception 'run % is queued and cannot be begun by id', v_run.run_id
      using errcode = 'TD030',
            hint = format(
              'Let a worker of queue %s claim it, or wait for its next dispatch.', v_run.queue
            );
  elsif v_run.status = 'running'
    and (v_run.queue is not null or v_until > v_now)
  then
    raise exception 'run % is leased by %', v_run.run_id, coalesce(v_run.worker, 'another worker')
      using errcode = 'TD004',
            detail = format('The lease lasts until %s.', v_until),
            hint = 'Wait for it to end, or cancel the run.';
  elsif v_run.status = 'running'
    and v_run.attempt >= v_run.max_attempts
    and not coalesce(begin_run.resume, false)
    -- How often an application is asked to resume a run is bounded by itself.
    and v_run.recovery_url is null
  then
    -- Its worker went silent in its last attempt. Nobody reported this end, so no late report may
    -- pass for its repetition.
    update tide.runs_active as r
    set lease_id = gen_random_uuid()
    where r.run_id = v_run.run_id;
    perform tide._finish(
      array[v_run.run_id],
      'failed',
      error => jsonb_build_object(
        'message', 'the lease expired: the worker is gone or was cut off'
      ),
      failure_class => 'max_retries'
    );
    return tide._find_run(v_run.run_id);
  end if;

  if v_run.status = 'running' then
    perform tide._note_lost(v_run);
  end if;
  if v_run.queue is not null then
    select q.budget
    into v_budget
    from tide.queues as q
    where q.queue = v_run.queue;
  end if;
  update tide.runs_active as r
  set
    status = 'running',
    waiting_on = null,
    waiting_for = null,
    run_at = case when r.waiting_on is null then r.run_at else v_now end,
    attempt = r.attempt + 1,
    started_at = v_now,
    leased_until = v_now + v_lease,
    lease = v_lease,
    lease_id = gen_random_uuid(),
    worker = v_worker,
    budget = coalesce(r.budget, v_budget),
    dispatched_until = null,
    dispatches = 0,
    recover_at = case
      when r.recovery_url is not null and r.queue is null then v_now + v_lease
    end,
    ended_by = null,
    last_seq = r.last_seq + 1
  where r.run_id = v_run.run_id
  returning r.* into v_run;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    'run.started',
    array[jsonb_build_object('attempt', v_run.attempt, 'worker', v_run.worker)]
  );
  return tide._with_input(v_run);
end;
$$;

comment on function tide.begin_run is
  'Lease by its id a pending run, a plain run whose lease expired, or a run that was pushed; with '
  'resume a failed plain run too, from its checkpoints. Completed: the run as it is; overdue: the run, '
  'cancelled; no attempt left: the run, failed; else TD001, TD003, TD004, TD030.';
