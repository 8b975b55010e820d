-- The shared lock keeps set_queue from counting running runs while a claim is between reading the
-- cap and committing; it is only tried, so a claim still never waits.
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
  v_queue tide.queues;
  v_drains boolean;
  v_room integer := _claim_queue.max_runs;
  v_picked uuid[];
  v_slots integer[];
  v_permits integer[];
  v_runs tide.runs[];
  v_run_ids uuid[];
  v_seqs integer[];
  v_payloads jsonb[];
  v_now timestamptz;
begin
  if not pg_try_advisory_xact_lock_shared(1953064038, hashtext(_claim_queue.queue)) then
    return array[]::tide.runs[];
  end if;
  select q.*
  into v_queue
  from tide.queues as q
  where q.queue = _claim_queue.queue;
  if v_queue.paused then
    return array[]::tide.runs[];
  end if;
  v_drains := tide._drains(v_queue);
  -- While a lowered cap drains, one claim at a time counts who runs.
  if v_drains and not pg_try_advisory_xact_lock(1953064040, hashtext(_claim_queue.queue)) then
    return array[]::tide.runs[];
  end if;
  v_room := tide._room(v_queue, v_room, v_drains);
  if v_room = 0 then
    return array[]::tide.runs[];
  end if;
  v_picked := tide._pick(_claim_queue.queue, v_room, _claim_queue.workflows);
  if cardinality(v_picked) = 0 then
    return array[]::tide.runs[];
  end if;
  if v_queue.concurrency is not null then
    v_slots := array(
      select s.slot
      from tide.slots as s
      where s.queue = _claim_queue.queue
        and s.slot <= v_queue.concurrency
        and s.run_id is null
      order by s.slot
      limit cardinality(v_picked)
      for no key update skip locked
    );
    v_picked := v_picked[:cardinality(v_slots)];
  end if;
  if v_queue.rate_limit is not null then
    v_permits := tide._hold_permits(v_queue, cardinality(v_picked));
    v_picked := v_picked[:cardinality(v_permits)];
  end if;
  if cardinality(v_picked) = 0 then
    return array[]::tide.runs[];
  end if;

  v_now := tide._now();
  with leased as (
    update tide.runs_active as r
    set
      status = 'running',
      ready = false,
      attempt = r.attempt + 1,
      started_at = v_now,
      leased_until = v_now + _claim_queue.lease,
      lease = _claim_queue.lease,
      lease_id = gen_random_uuid(),
      worker = _claim_queue.worker,
      slot = p.slot,
      budget = coalesce(r.budget, v_queue.budget),
      ended_by = null,
      last_seq = r.last_seq + 1
    from unnest(v_picked, v_slots) as p(run_id, slot)
    where r.run_id = p.run_id
    returning
      r::tide.runs as run,
      r.run_id,
      r.last_seq,
      jsonb_build_object('attempt', r.attempt, 'worker', r.worker) as payload
  )
  select
    array_agg(l.run),
    array_agg(l.run_id),
    array_agg(l.last_seq),
    array_agg(l.payload)
  into v_runs, v_run_ids, v_seqs, v_payloads
  from leased as l;
  if v_slots is not null then
    update tide.slots as s
    set run_id = p.run_id
    from unnest(v_picked, v_slots) as p(run_id, slot)
    where s.queue = _claim_queue.queue
      and s.slot = p.slot
      and p.run_id is not null;
  end if;
  perform tide._emit(v_run_ids, v_seqs, 'run.claimed', v_payloads);
  if v_permits is not null then
    perform tide._use_permits(v_queue, v_permits);
  end if;
  return v_runs;
end;
$$;

comment on function tide._claim_queue is
  'Lease ready runs of one queue: pick runs, take a slot and a permit for each, write the leases.';
