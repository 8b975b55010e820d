create or replace function tide._requeue(
  run tide.runs,
  ended_by text,
  run_at timestamptz,
  counted boolean,
  event text,
  payload jsonb,
  error jsonb default null,
  waiting_on text default null,
  waiting_for text default null
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_ready constant boolean := run.queue is not null
    and _requeue.waiting_on is null
    and _requeue.run_at <= tide._now();
begin
  if run.told_events > 0 then
    perform tide._write_told_events(array[run.run_id]);
  end if;
  update tide.runs_active as r
  set
    status = case when r.queue is null then 'pending' else 'queued' end,
    ready = v_ready,
    waiting_on = _requeue.waiting_on,
    waiting_for = _requeue.waiting_for,
    run_at = _requeue.run_at,
    leased_until = null,
    dispatched_until = null,
    recover_at = case
      when r.recovery_url is not null and r.queue is null and _requeue.waiting_on is null
        then _requeue.run_at
    end,
    -- A run that comes to a wait has gone on: only stalls in a row count.
    recoveries = case when _requeue.waiting_on is null then r.recoveries else 0 end,
    slot = null,
    lane = nullif(r.lane, ''),
    lane_slot = null,
    lane_key_slot = null,
    units_left = null,
    session_id = null,
    -- Whose attempt nobody reported on loses its lease id, so that a late report is refused.
    lease_id = case when _requeue.ended_by is not null then r.lease_id end,
    ended_by = _requeue.ended_by,
    attempt = r.attempt - case when _requeue.counted then 0 else 1 end,
    error = coalesce(_requeue.error, r.error),
    last_seq = r.last_seq + 1,
    told_events = 0
  where r.run_id = run.run_id
  returning r.* into v_run;
  perform tide._release_lost(run);
  if run.slot is not null then
    update tide.slots as s
    set run_id = null
    where s.queue = run.queue
      and s.slot = run.slot
      and s.run_id = run.run_id;
  end if;
  if run.units_left is not null then
    perform tide._settle_units(
      run.run_id,
      tide._units_to_settle(_requeue.run, _requeue.ended_by, _requeue.waiting_on is not null)
    );
  end if;
  if run.lane is not null then
    perform tide._free_places(
      array[
        (
          run.run_id, run.lane, run.lane_key, run.lane_slot, run.lane_key_slot
        )::tide.lane_holds
      ]
    );
    perform tide._end_more_lanes(
      o,
      tide._units_to_settle(
        tide._as_in(_requeue.run, o), _requeue.ended_by, _requeue.waiting_on is not null
      )
    )
    from tide.run_lanes as o
    where o.run_id = run.run_id;
  end if;
  perform tide._make_ready(v_run.queue, v_run.priority, v_run.run_at);
  if run.lane is not null then
    perform tide._line_up(array[run.run_id]);
  end if;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    _requeue.event,
    array[_requeue.payload]
  );
  return v_run;
end;
$$;

comment on function tide._requeue is
  'Take a running run from its worker and let it wait: for its next attempt, or parked. The caller '
  'has locked the row.';
