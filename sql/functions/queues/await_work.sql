create or replace function tide.await_work(
  worker text,
  queues text[] default '{default}',
  duration interval default '10 seconds'
)
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_worker constant text := tide._valid_text('worker', await_work.worker, 256);
  v_duration constant interval := tide._valid_interval(
    'duration', await_work.duration, '0', '1 hour'
  );
  v_queues constant text[] := tide._valid_queues(await_work.queues);
begin
  perform tide._require_read_committed('await_work');
  perform tide._require_queue(n.queue, 'claim')
  from unnest(v_queues) as n(queue);
  -- A row somebody holds is a notification on its way.
  delete from tide.waiters as w
  using (
    select
      s.queue,
      s.since
    from tide.waiters as s
    where s.queue = any (v_queues)
      and s.waiter = v_worker
    for update skip locked
  ) as s
  where w.queue = s.queue
    and w.waiter = v_worker
    and w.since = s.since;
  insert into tide.waiters (queue, waiter, since, until)
  select
    tide._valid_name('queues', q.queue),
    v_worker,
    v_now,
    v_now + v_duration
  from (
    select distinct n.queue
    from unnest(v_queues) as n(queue)
  ) as q
  where v_duration > interval '0'
  order by q.queue
  on conflict on constraint waiters_pkey do nothing;
  return least(v_duration, tide._next_wakeup(v_queues));
end;
$$;

comment on function tide.await_work is
  'Register an idle worker: it is notified on channel tide_work when a run of its queues is ready; the '
  'payload is * or a uuid of the first 16 bytes of the sha256 of its name, so give one that cannot be '
  'guessed. Returns how long nothing can become ready by itself. Listen first, then register, then '
  'claim once more, then wait; duration 0 withdraws.';
