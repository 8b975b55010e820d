-- The rows come in the order of their keys, which is that of their claim where no priority and no turn
-- says otherwise: only then are they put in order.
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
  v_secret constant uuid := gen_random_uuid();
  v_leased record;
  v_runs tide.runs[];
  v_plain boolean := true;
begin
  for v_leased in
    update tide.runs_active as r
    set
      status = 'running',
      ready = false,
      turn_at = null,
      attempt = r.attempt + 1,
      started_at = v_now,
      leased_until = v_now + _lease.lease,
      lease = _lease.lease,
      lease_id = tide._lease_id(v_secret, r.run_id),
      session_id = _lease.session_id,
      worker = _lease.worker,
      slot = reserved.slots[array_position(reserved.run_ids, r.run_id)],
      lane_slot = reserved.lane_slots[array_position(reserved.run_ids, r.run_id)],
      lane_key_slot = reserved.lane_key_slots[array_position(reserved.run_ids, r.run_id)],
      units_left = reserved.units[array_position(reserved.run_ids, r.run_id)],
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
      r.run_id,
      r.told_events = r.last_seq
        and not exists (
          select
          from tide.watchers as w
          where w.run_id = any (reserved.run_ids)
        ) as plain
  loop
    v_runs := v_runs || v_leased.run;
    v_plain := v_plain
      and v_leased.plain
      and v_leased.run_id = reserved.run_ids[cardinality(v_runs)];
  end loop;
  if not v_plain then
    v_runs := array(
      select r
      from unnest(v_runs) as r
      order by array_position(reserved.run_ids, r.run_id)
    );
    perform tide._emit(
      array_agg(r.run_id),
      array_agg(r.last_seq),
      'run.claimed',
      array_agg(jsonb_build_object('attempt', r.attempt, 'worker', r.worker))
    )
    from unnest(v_runs) as r
    where r.told_events <> r.last_seq
    having count(*) > 0;
    perform tide._tell(array_agg(r.run_id), array_agg(r.last_seq), 'run.claimed')
    from unnest(v_runs) as r
    where r.told_events = r.last_seq
      and exists (
        select
        from tide.watchers as w
        where w.run_id = any (reserved.run_ids)
      )
    having count(*) > 0;
  end if;
  if num_nonnulls(reserved.slots, reserved.permits) > 0 then
    perform tide._use_reservation(reserved);
  end if;
  return v_runs;
end;
$$;

comment on function tide._lease is
  'Write leases on reserved runs, use their slots and permits, and return the runs in claim order.';
