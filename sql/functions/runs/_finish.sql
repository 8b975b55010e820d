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
  v_ended tide.ended[];
  v_watched boolean;
begin
  with gone as (
    delete from tide.runs_active as r
    where r.run_id = any (
      case
        when _finish.lease_ids is null then _finish.run_ids
        else array(
          select l.run_id
          from tide.runs_active as l
          where l.run_id = any (_finish.run_ids)
            and l.lease_id = _finish.lease_ids[array_position(_finish.run_ids, l.run_id)]
            and l.leased_until is not null
          for update skip locked
        )
      end
    )
    returning
      r.*,
      case
        when _finish.lease_ids is not null and r.deadline_at <= v_now then 'cancelled'
        else _finish.status
      end as ended_as,
      r.last_seq = 2 and r.told_events = 2 as untouched,
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
      recovery_url, told_events, requested_by, lane, lane_key
    )
    select
      g.run_id,
      g.workflow,
      g.queue,
      g.ended_as,
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
      g.ended_as,
      _finish.failure_class,
      case when g.ended_as = _finish.status then _finish.reason else 'deadline' end,
      case when g.ended_as = _finish.status then _finish.actor else 'tide' end,
      g.input,
      g.metadata,
      case when g.ended_as = 'completed' then g.given_result end,
      case when g.ended_as <> 'completed' then coalesce(_finish.error, g.error) end,
      g.backoff,
      g.deadline,
      g.parent_id,
      g.forked_from,
      g.budget,
      g.recovery_url,
      case when g.untouched and g.ended_as = 'completed' then 3 else g.told_events end,
      g.requested_by,
      g.lane,
      g.lane_key
    from gone as g
  )
  select
    array_agg(g.run_id) filter (where g.ended_as = _finish.status),
    array_agg(
      (
        g.run_id,
        g.last_seq + 1,
        g.ended_as,
        g.untouched and g.ended_as = 'completed',
        g.attempt,
        g.queue,
        g.slot,
        g.open_gates,
        g.parent_id,
        g.lane,
        g.lane_key,
        g.lane_slot,
        g.lane_key_slot
      )::tide.ended
    ) filter (
      where g.ended_as <> 'completed'
        or not g.untouched
        or g.slot is not null
        or g.open_gates > 0
        or g.parent_id is not null
        or g.lane is not null
    ),
    exists (
      select
      from tide.watchers as w
      where w.run_id = any (_finish.run_ids)
    )
  into v_run_ids, v_ended, v_watched
  from gone as g;

  if v_watched then
    -- Of what is written, _emit tells.
    perform tide._tell(array_agg(f.run_id), array_agg(f.last_seq), 'run.completed')
    from tide.runs_finished as f
    where f.run_id = any (v_run_ids)
      and f.told_events = f.last_seq;
  end if;
  if v_ended is not null then
    perform tide._finish_rest(
      array_agg(e),
      e.status,
      _finish.error,
      _finish.failure_class,
      case when e.status = _finish.status then _finish.reason else 'deadline' end,
      case when e.status = _finish.status then _finish.actor else 'tide' end
    )
    from unnest(v_ended) as e
    group by e.status;
  end if;
  return coalesce(v_run_ids, array[]::uuid[]);
end;
$$;

comment on function tide._finish is
  'End runs: move them to runs_finished, free their slots and places in lanes, log it, close their '
  'gates, tell parents and children; returns which. The caller has locked their rows, or gives the '
  'leases under which they must be running; then those whose rows another transaction holds are passed '
  'over, those past their deadline are cancelled, and neither are among the answer.';
