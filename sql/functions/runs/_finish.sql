-- The only way out of runs_active: delete and insert in one statement. An update of the partition
-- key would give concurrent lockers 40001; a deleted row makes them look in runs_finished.
-- By a list of keys and not by a join: where the table was vacuumed while it was empty, the planner
-- takes it for empty still and would read all of it for each row joined.
create or replace function tide._finish(
  run_ids uuid[],
  status text,
  results jsonb[] default null,
  error jsonb default null,
  failure_class text default null,
  reason text default null,
  actor text default null,
  lease_ids uuid[] default null
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_ids uuid[];
  v_seqs integer[];
  v_queues text[];
  v_slots integer[];
  v_asking uuid[];
  v_children uuid[];
  v_followed boolean;
begin
  with gone as (
    delete from tide.runs_active as r
    where r.run_id = any (_finish.run_ids)
      and (
        _finish.lease_ids is null
        or r.lease_id = _finish.lease_ids[array_position(_finish.run_ids, r.run_id)]
          and r.leased_until is not null
          and (r.deadline_at > v_now) is not false
      )
    returning
      r.*,
      case
        when _finish.results is not null
          then _finish.results[array_position(_finish.run_ids, r.run_id)]
      end as given_result
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
      _finish.failure_class,
      _finish.reason,
      _finish.actor,
      g.input,
      g.metadata,
      g.given_result,
      case when _finish.status = 'completed' then null else coalesce(_finish.error, g.error) end,
      g.backoff,
      g.deadline,
      g.parent_id,
      g.forked_from,
      g.budget,
      g.recovery_url
    from gone as g
  ), logged as (
    insert into tide.events (run_id, seq, type, created_at, payload)
    select
      g.run_id,
      g.last_seq + 1,
      'run.' || _finish.status,
      v_now,
      case _finish.status
        when 'completed' then jsonb_build_object('attempt', g.attempt)
        when 'failed' then jsonb_build_object(
          'attempt', g.attempt, 'failure_class', _finish.failure_class, 'error', _finish.error
        )
        else jsonb_build_object('reason', _finish.reason, 'actor', _finish.actor)
      end
    from gone as g
  )
  select
    array_agg(g.run_id),
    array_agg(g.last_seq + 1),
    array_agg(g.queue) filter (where g.slot is not null),
    array_agg(g.slot) filter (where g.slot is not null),
    array_agg(g.run_id) filter (where g.open_gates > 0),
    array_agg(g.run_id) filter (where g.parent_id is not null),
    exists (
      select
      from tide._followed(_finish.run_ids)
    )
  into v_run_ids, v_seqs, v_queues, v_slots, v_asking, v_children, v_followed
  from gone as g;
  if v_run_ids is null then
    return array[]::uuid[];
  end if;

  if v_slots is not null then
    update tide.slots as s
    set run_id = null
    from unnest(v_queues, v_slots) as f(queue, slot)
    where s.queue = f.queue
      and s.slot = f.slot
      and s.run_id = any (v_run_ids);
  end if;
  if v_followed then
    perform tide._tell(v_run_ids, v_seqs, 'run.' || _finish.status);
  end if;

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
  return v_run_ids;
end;
$$;

comment on function tide._finish is
  'End runs: move them to runs_finished, free their slots, log it, close their gates, tell parents '
  'and children; returns which. The caller has locked their rows, or gives the leases under which '
  'they must be running, before their deadlines.';
