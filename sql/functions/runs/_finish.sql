-- The only way out of runs_active: delete and insert in one statement. An update of the partition
-- key would give concurrent lockers 40001; a deleted row makes them look in runs_finished.
create or replace function tide._finish(
  run_ids uuid[],
  status text,
  results jsonb[] default null,
  errors jsonb[] default null,
  failure_classes text[] default null,
  reason text default null,
  actor text default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_ids uuid[];
  v_seqs integer[];
  v_payloads jsonb[];
  v_queues text[];
  v_slots integer[];
  v_asking uuid[];
  v_children uuid[];
begin
  with gone as (
    delete from tide.runs_active as r
    using unnest(
      _finish.run_ids,
      _finish.results,
      _finish.errors,
      _finish.failure_classes
    ) as f(run_id, result, error, failure_class)
    where r.run_id = f.run_id
    returning
      r.*,
      f.result as given_result,
      f.error as given_error,
      f.failure_class as given_failure_class
  ), kept as (
    insert into tide.runs_finished (
      run_id, workflow, queue, status, dedupe_key, priority, attempt, max_attempts, last_seq,
      run_at, created_at, started_at, finished_at, deadline_at, lease, lease_id, worker,
      ended_by, failure_class, cancel_reason, cancel_actor,
      input, metadata, result, error, backoff, deadline, parent_id, forked_from, budget,
      recovery_url
    )
    select
      g.run_id,
      g.workflow,
      g.queue,
      _finish.status,
      g.dedupe_key,
      g.priority,
      g.attempt,
      g.max_attempts,
      g.last_seq + 1,
      case when g.waiting_on is null then g.run_at else v_now end,
      g.created_at,
      g.started_at,
      v_now,
      g.deadline_at,
      g.lease,
      g.lease_id,
      g.worker,
      _finish.status,
      g.given_failure_class,
      _finish.reason,
      _finish.actor,
      g.input,
      g.metadata,
      g.given_result,
      case when _finish.status = 'completed' then null else coalesce(g.given_error, g.error) end,
      g.backoff,
      g.deadline,
      g.parent_id,
      g.forked_from,
      g.budget,
      g.recovery_url
    from gone as g
  )
  select
    array_agg(g.run_id),
    array_agg(g.last_seq + 1),
    array_agg(
      case _finish.status
        when 'completed' then jsonb_build_object('attempt', g.attempt)
        when 'failed' then jsonb_build_object(
          'attempt', g.attempt,
          'failure_class', g.given_failure_class,
          'error', g.given_error
        )
        else jsonb_build_object('reason', _finish.reason, 'actor', _finish.actor)
      end
    ),
    array_agg(g.queue) filter (where g.slot is not null),
    array_agg(g.slot) filter (where g.slot is not null),
    array_agg(g.run_id) filter (where g.open_gates > 0),
    array_agg(g.run_id) filter (where g.parent_id is not null)
  into v_run_ids, v_seqs, v_payloads, v_queues, v_slots, v_asking, v_children
  from gone as g;

  if v_slots is not null then
    update tide.slots as s
    set run_id = null
    from unnest(v_queues, v_slots) as f(queue, slot)
    where s.queue = f.queue
      and s.slot = f.slot
      and s.run_id = any (v_run_ids);
  end if;
  perform tide._emit(v_run_ids, v_seqs, 'run.' || _finish.status, v_payloads);

  if v_asking is not null then
    update tide.gates as g
    set
      status = 'canceled',
      actor = 'tide',
      resolved_at = v_now
    where g.run_id = any (v_asking)
      and g.status = 'pending';
    perform tide._forget_tokens(v_asking);
  end if;
  if _finish.status = 'cancelled' then
    perform tide._begin_cascade(v_run_ids, _finish.reason, _finish.actor);
  end if;
  if v_children is not null then
    perform tide._children_ended(v_children, _finish.status);
  end if;
end;
$$;

comment on function tide._finish is
  'End runs whose rows the caller has locked: move them to runs_finished, free their slots, log it, '
  'close their gates and tell parents and children.';
