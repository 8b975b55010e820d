-- The try-lock keeps two first claims under one name from waiting for each other's insert.
create or replace function tide._remember_worker(worker text, queues text[], workflows text[])
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  if not pg_try_advisory_xact_lock(1953064039, hashtext(_remember_worker.worker)) then
    return;
  end if;
  insert into tide.workers as w (worker, queues, workflows, seen_at)
  values (
    _remember_worker.worker,
    _remember_worker.queues,
    _remember_worker.workflows,
    v_now
  )
  on conflict on constraint workers_pkey do update
  set
    queues = excluded.queues,
    workflows = excluded.workflows,
    seen_at = excluded.seen_at;
end;
$$;

comment on function tide._remember_worker is
  'Remember which queues and workflows a worker claims; written at most every ten seconds.';
