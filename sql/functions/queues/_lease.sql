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
  v_rows tide.runs[];
  v_told uuid[];
  v_told_seqs integer[];
  v_run_ids uuid[];
  v_seqs integer[];
  v_payloads jsonb[];
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
    -- One by one, and not by a query around the array, which would unpack every column of each.
    v_rows := v_runs;
    for v_row in 1..cardinality(v_rows) loop
      v_runs[array_position(reserved.run_ids, (v_rows[v_row]).run_id)] := v_rows[v_row];
    end loop;
    for v_row in 1..cardinality(v_runs) loop
      if (v_runs[v_row]).told_events = (v_runs[v_row]).last_seq then
        v_told := v_told || (v_runs[v_row]).run_id;
        v_told_seqs := v_told_seqs || (v_runs[v_row]).last_seq;
      else
        v_run_ids := v_run_ids || (v_runs[v_row]).run_id;
        v_seqs := v_seqs || (v_runs[v_row]).last_seq;
        v_payloads := v_payloads
          || jsonb_build_object('attempt', (v_runs[v_row]).attempt, 'worker', _lease.worker);
      end if;
    end loop;
    if v_run_ids is not null then
      perform tide._emit(v_run_ids, v_seqs, 'run.claimed', v_payloads);
    end if;
    if v_told is not null then
      if exists (
        select
        from tide.watchers as w
        where w.run_id = any (v_told)
      ) then
        perform tide._tell(v_told, v_told_seqs, 'run.claimed');
      end if;
    end if;
  end if;
  if num_nonnulls(reserved.slots, reserved.permits) > 0 then
    perform tide._use_reservation(reserved);
  end if;
  return v_runs;
end;
$$;

comment on function tide._lease is
  'Write leases on reserved runs, use their slots and permits, and return the runs in claim order.';
