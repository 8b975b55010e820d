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
  v_leased record;
  v_runs tide.runs[];
  v_told boolean := true;
  v_watched boolean;
begin
  for v_leased in
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
      slot = reserved.slots[array_position(reserved.run_ids, r.run_id)],
      lane_slot = reserved.lane_slots[array_position(reserved.run_ids, r.run_id)],
      lane_key_slot = reserved.lane_key_slots[array_position(reserved.run_ids, r.run_id)],
      budget = coalesce(r.budget, (reserved.settings).budget),
      ended_by = null,
      last_seq = r.last_seq + 1,
      told_events = case
        when r.told_events = 1 and r.last_seq = 1 then 2
        else r.told_events
      end
    where r.run_id = any (reserved.run_ids)
    returning
      case
        when r.input is null then tide._with_input(r::tide.runs)
        else r::tide.runs
      end as run,
      array_position(reserved.run_ids, r.run_id) as place,
      r.told_events = r.last_seq as told,
      exists (
        select
        from tide.watchers as w
        where w.run_id = any (reserved.run_ids)
      ) as watched
  loop
    v_runs[v_leased.place] := v_leased.run;
    v_told := v_told and v_leased.told;
    v_watched := v_leased.watched;
  end loop;
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
  if num_nonnulls(reserved.slots, reserved.permits) > 0 then
    perform tide._use_reservation(reserved);
  end if;
  return v_runs;
end;
$$;

comment on function tide._lease is
  'Write leases on reserved runs, use their slots and permits, and return the runs in claim order.';
