-- The try-lock keeps two first claims under one name from waiting for each other's insert.
create or replace function tide._register_worker(
  worker text,
  queues text[],
  workflows text[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_known tide.workers;
begin
  select w.*
  into v_known
  from tide.workers as w
  where w.worker = _register_worker.worker;
  if v_known.seen_at > v_now - interval '10 seconds'
    and v_known.queues = _register_worker.queues
    and v_known.workflows is not distinct from _register_worker.workflows
  then
    return;
  end if;
  if not pg_try_advisory_xact_lock(1953064039, hashtext(_register_worker.worker)) then
    return;
  end if;
  insert into tide.workers as w (worker, queues, workflows, seen_at, lease_secret)
  values (
    _register_worker.worker,
    _register_worker.queues,
    _register_worker.workflows,
    v_now,
    gen_random_uuid()
  )
  on conflict on constraint workers_pkey do update
  set
    queues = excluded.queues,
    workflows = excluded.workflows,
    seen_at = excluded.seen_at,
    lease_secret = excluded.lease_secret;
end;
$$;

comment on function tide._register_worker is
  'Remember which queues and workflows a worker claims, with a new secret for its leases; written at '
  'most every ten seconds.';
