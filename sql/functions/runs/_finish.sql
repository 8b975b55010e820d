-- The only way out of runs_active: a copy among the finished, then a delete. An update of the
-- partition key would give concurrent lockers 40001; a deleted row makes them look in runs_finished.
-- By a list of keys and not by a join: where the table was vacuumed while it was empty, the planner
-- takes it for empty still and would read all of it for each row joined.
create or replace function tide._finish(
  run_ids uuid[],
  status text,
  results jsonb[] default null,
  error jsonb default null,
  failure_class text default null,
  reason text default null,
  actor text default null
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_gone record;
  v_ended tide.ended[];
  v_watched boolean := false;
begin
  insert into tide.runs_finished (
    run_id, workflow, queue, status, dedupe_key, priority, attempt, max_attempts, last_seq,
    run_at, created_at, started_at, finished_at, deadline_at, lease, lease_id, worker,
    ended_by, failure_class, cancel_reason, cancel_actor,
    input, metadata, result, error, backoff, deadline, parent_id, forked_from, budget,
    recovery_url, told_events, requested_by, lane, lane_key, dedupe_for, cost
  )
  select
    r.run_id,
    r.workflow,
    r.queue,
    _finish.status,
    r.dedupe_key,
    r.priority,
    r.attempt,
    r.max_attempts,
    r.last_seq + 1,
    case when r.waiting_on is null then r.run_at else v_now end,
    r.created_at,
    r.started_at,
    v_now,
    r.deadline_at,
    r.lease,
    r.lease_id,
    r.worker,
    _finish.status,
    _finish.failure_class,
    _finish.reason,
    _finish.actor,
    r.input,
    r.metadata,
    _finish.results[array_position(_finish.run_ids, r.run_id)],
    case when _finish.status <> 'completed' then coalesce(_finish.error, r.error) end,
    r.backoff,
    r.deadline,
    r.parent_id,
    r.forked_from,
    r.budget,
    r.recovery_url,
    case
      when r.last_seq = 2 and r.told_events = 2 and _finish.status = 'completed' then 3
      else r.told_events
    end,
    r.requested_by,
    nullif(r.lane, ''),
    r.lane_key,
    r.dedupe_for,
    r.cost
  from tide.runs_active as r
  where r.run_id = any (_finish.run_ids);

  for v_gone in
    delete from tide.runs_active as r
    where r.run_id = any (_finish.run_ids)
    returning
      -- Of most runs there is nothing more to it.
      case
        when r.last_seq = 2
          and r.told_events = 2
          and _finish.status = 'completed'
          and r.open_gates = 0
          and num_nonnulls(
            r.slot, r.parent_id, r.lane, r.followed, r.dedupe_for, r.budget
          ) = 0
          then null
        else (
            r.run_id,
            r.last_seq + 1,
            _finish.status,
            r.last_seq = 2 and r.told_events = 2 and _finish.status = 'completed',
            r.attempt,
            r.queue,
            r.slot,
            r.open_gates,
            r.parent_id,
            r.lane,
            r.lane_key,
            r.lane_slot,
            r.lane_key_slot,
            r.status = 'running' or r.dispatched_until is not null,
            r.followed,
            num_nonnulls(r.budget, r.parent_id) > 0,
            r.dedupe_for is not null,
            r.units_left is not null,
            case
              -- What a run had under way that was cancelled, or whose worker is gone, nobody knows.
              when _finish.status = 'completed'
                or _finish.status = 'failed' and r.leased_until > v_now
                then nullif(coalesce(r.cost, 1) - r.units_left, 0)
            end,
            _finish.status = 'completed' or _finish.status = 'failed' and r.leased_until > v_now
          )::tide.ended
      end as ended,
      exists (
        select
        from tide.watchers as w
        where w.run_id = any (_finish.run_ids)
      ) as watched
  loop
    v_watched := v_gone.watched;
    if (v_gone.ended).run_id is not null then
      v_ended := v_ended || v_gone.ended;
    end if;
  end loop;

  if v_watched then
    -- Of what is written, _emit tells.
    perform tide._tell(array_agg(f.run_id), array_agg(f.last_seq), 'run.completed')
    from tide.runs_finished as f
    where f.run_id = any (_finish.run_ids)
      and f.told_events = f.last_seq;
  end if;
  if v_ended is not null then
    perform tide._finish_rest(
      v_ended,
      _finish.status,
      _finish.error,
      _finish.failure_class,
      _finish.reason,
      _finish.actor
    );
  end if;
  return _finish.run_ids;
end;
$$;

comment on function tide._finish is
  'End runs whose rows the caller has locked: move them to runs_finished, free their slots and places '
  'in lanes, log it, close their gates, tell parents and children; returns run_ids.';
