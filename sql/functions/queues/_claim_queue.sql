create or replace function tide._claim_queue(
  queue text,
  max_runs integer,
  lease interval,
  worker text,
  workflows text[]
)
returns tide.runs[]
language plpgsql
volatile
as $$
declare
  v_taken constant tide.taken := tide._take(
    _claim_queue.queue, _claim_queue.max_runs, _claim_queue.workflows, push => false
  );
  v_runs tide.runs[];
  v_told boolean;
  v_followed boolean;
  v_now timestamptz;
  v_secret bytea;
begin
  if v_taken.run_ids is null then
    return array[]::tide.runs[];
  end if;
  v_now := tide._now();
  -- Random numbers are dear: one for all, and each lease_id is a hash of it and its run.
  v_secret := uuid_send(gen_random_uuid());
  with leased as (
    update tide.runs_active as r
    set
      status = 'running',
      ready = false,
      attempt = r.attempt + 1,
      started_at = v_now,
      leased_until = v_now + _claim_queue.lease,
      lease = _claim_queue.lease,
      lease_id = encode(substring(sha256(v_secret || uuid_send(r.run_id)) for 16), 'hex')::uuid,
      worker = _claim_queue.worker,
      slot = v_taken.slots[array_position(v_taken.run_ids, r.run_id)],
      budget = coalesce(r.budget, (v_taken.settings).budget),
      ended_by = null,
      last_seq = r.last_seq + 1,
      told_events = case
        when r.told_events = 1 and r.last_seq = 1 then 2
        else r.told_events
      end
    where r.run_id = any (v_taken.run_ids)
    returning
      r::tide.runs as run,
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
      from tide._followed(v_taken.run_ids)
    )
  into v_runs, v_told, v_followed
  from (
    select
      s.run,
      s.told
    from leased as s
    order by s.priority desc, s.run_at, s.run_id
  ) as l;
  if v_taken.slots is not null then
    perform tide._use_slots(v_taken);
  end if;
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
  if v_followed then
    perform tide._tell(array_agg(r.run_id), array_agg(r.last_seq), 'run.claimed')
    from unnest(v_runs) as r
    where r.told_events = r.last_seq;
  end if;
  if v_taken.permits is not null then
    perform tide._use_permits(v_taken.settings, v_taken.permits);
  end if;
  return v_runs;
end;
$$;

comment on function tide._claim_queue is
  'Lease ready runs of one queue: take runs, slots and permits, write the leases.';
