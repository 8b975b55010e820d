-- The try-lock keeps two first claims under one name from waiting for each other's insert. A row held
-- by whoever changes the queue the worker had before is left for later.
create or replace function tide._remember_worker(
  worker text,
  queues text[],
  workflows text[],
  alone boolean
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
  where w.worker = _remember_worker.worker;
  if v_known.seen_at > v_now - interval '10 seconds'
    and v_known.queues = _remember_worker.queues
    and v_known.workflows is not distinct from _remember_worker.workflows
  then
    return;
  end if;
  if not pg_try_advisory_xact_lock(1953064039, hashtext(_remember_worker.worker)) then
    return;
  end if;
  if v_known.worker is not null then
    perform
    from tide.workers as w
    where w.worker = _remember_worker.worker
    for no key update skip locked;
    if not found then
      return;
    end if;
  end if;
  insert into tide.workers as w (worker, queues, workflows, seen_at, lease_secret, plain)
  values (
    _remember_worker.worker,
    _remember_worker.queues,
    _remember_worker.workflows,
    v_now,
    gen_random_uuid(),
    _remember_worker.alone
      and not exists (
        select
        from tide.queues as q
        where q.queue = _remember_worker.queues[1]
          and (
            q.paused
            or num_nonnulls(q.push_url, q.concurrency, q.rate_limit, q.budget) > 0
          )
      )
      and not exists (
        select
        from tide.queue_grants as g
        where g.queue = _remember_worker.queues[1]
      )
  )
  on conflict on constraint workers_pkey do update
  set
    queues = excluded.queues,
    workflows = excluded.workflows,
    seen_at = excluded.seen_at,
    lease_secret = excluded.lease_secret,
    plain = excluded.plain;
end;
$$;

comment on function tide._remember_worker is
  'Remember which queues and workflows a worker claims, with a new secret for its leases; written at '
  'most every ten seconds. alone = it has one queue, whose settings stay as they are while this '
  'transaction lasts.';
