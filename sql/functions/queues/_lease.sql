create or replace function tide._lease(
  reserved tide.reservation,
  lease interval,
  worker text,
  session_id uuid
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run_ids constant uuid[] := reserved.run_ids;
  v_slots constant integer[] := reserved.slots;
  v_lane_slots constant integer[] := reserved.lane_slots;
  v_lane_key_slots constant integer[] := reserved.lane_key_slots;
  v_budget constant jsonb := (reserved.settings).budget;
  v_runs tide.runs[];
  v_told boolean;
  v_watched boolean;
begin
  with leased as (
    update tide.runs_active as r
    set
      status = 'running',
      ready = false,
      attempt = r.attempt + 1,
      started_at = v_now,
      leased_until = v_now + _lease.lease,
      lease = _lease.lease,
      lease_id = gen_random_uuid(),
      session_id = _lease.session_id,
      worker = _lease.worker,
      slot = v_slots[array_position(v_run_ids, r.run_id)],
      lane_slot = v_lane_slots[array_position(v_run_ids, r.run_id)],
      lane_key_slot = v_lane_key_slots[array_position(v_run_ids, r.run_id)],
      budget = coalesce(r.budget, v_budget),
      ended_by = null,
      last_seq = r.last_seq + 1,
      told_events = case
        when r.told_events = 1 and r.last_seq = 1 then 2
        else r.told_events
      end
    where r.run_id = any (v_run_ids)
    returning
      case
        when r.input is null then tide._with_input(r::tide.runs)
        else r::tide.runs
      end as run,
      r.run_id,
      r.priority,
      r.run_at,
      r.told_events = r.last_seq as told
  )
  select
    array_agg(l.run),
    bool_and(l.told),
    exists (
      select
      from tide.watchers as w
      where w.run_id = any (v_run_ids)
    )
  into v_runs, v_told, v_watched
  from (
    select
      s.run,
      s.told
    from leased as s
    order by s.priority desc, s.run_at, s.run_id
  ) as l;
  if not v_told then
    perform tide._emit(
      array_agg(r.run_id),
      array_agg(r.last_seq),
      'run.claimed',
      array_agg(jsonb_build_object('attempt', r.attempt, 'worker', r.worker))
    )
    from unnest(v_runs) as r
    where r.told_events <> r.last_seq;
  end if;
  if v_watched then
    perform tide._tell(array_agg(r.run_id), array_agg(r.last_seq), 'run.claimed')
    from unnest(v_runs) as r
    where r.told_events = r.last_seq;
  end if;
  if v_slots is not null or reserved.permits is not null then
    perform tide._use_reservation(reserved);
  end if;
  return v_runs;
end;
$$;

comment on function tide._lease is
  'Write leases on reserved runs, use their slots and permits, and return the runs in claim order.';
