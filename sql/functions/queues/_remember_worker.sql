-- The turn keeps two first claims under one name from waiting for each other's insert. What somebody
-- else holds is left for later.
create or replace function tide._remember_worker(worker text, queues text[], workflows text[])
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_bucket constant integer := hashtext(_remember_worker.worker) & 63;
begin
  perform
  from tide.workers as w
  where w.worker = _remember_worker.worker
  for no key update skip locked;
  if found then
    update tide.workers as w
    set
      queues = _remember_worker.queues,
      workflows = _remember_worker.workflows,
      seen_at = v_now
    where w.worker = _remember_worker.worker;
  elsif tide._take_turn('worker ' || v_bucket) then
    insert into tide.workers (worker, queues, workflows, seen_at)
    select
      _remember_worker.worker,
      _remember_worker.queues,
      _remember_worker.workflows,
      v_now
    where not exists (
      select
      from tide.workers as w
      where w.worker = _remember_worker.worker
    )
    on conflict on constraint workers_pkey do nothing;
  end if;
end;
$$;

comment on function tide._remember_worker is
  'Remember which queues and workflows a worker claims; written at most every ten seconds.';
