create or replace function tide._forget_stale_rows()
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  delete from tide.queue_minutes as m
  where m.ctid = any (
    array(
      select s.ctid
      from tide.queue_minutes as s
      where s.minute < v_now - interval '48 hours'
      order by s.minute
      limit 10000
      for update skip locked
    )
  );
  perform tide._forget_time_bins();
  delete from tide.sweep_failures as f
  where f.ctid = any (
    array(
      select s.ctid
      from tide.sweep_failures as s
      where s.retry_at < v_now - interval '24 hours'
      order by s.retry_at
      limit 10000
      for update skip locked
    )
  );
  delete from tide.lease_renewals as b
  where b.ctid = any (
    array(
      select s.ctid
      from tide.lease_renewals as s
      where s.leased_until < v_now
      order by s.leased_until
      limit 1000
      for update skip locked
    )
  );
  delete from tide.held_keys as h
  where h.ctid = any (
    array(
      select s.ctid
      from tide.held_keys as s
      where s.until < v_now
      order by s.until
      limit 10000
      for update skip locked
    )
  );
  delete from tide.watchers as w
  where w.run_id = any (
    array(
      select s.run_id
      from tide.watchers as s
      where s.until < v_now
      order by s.until
      limit 10000
      for update skip locked
    )
  );
  delete from tide.workers as w
  where w.worker = any (
    array(
      select s.worker
      from tide.workers as s
      where s.seen_at < v_now - interval '1 hour'
      order by s.seen_at
      limit 10000
      for update skip locked
    )
  );
  delete from tide.waiters as w
  using (
    select
      s.queue,
      s.waiter,
      s.since
    from tide.waiters as s
    where s.until < v_now
    order by s.until
    limit 10000
    for update skip locked
  ) as s
  where w.queue = s.queue
    and w.waiter = s.waiter
    and w.since = s.since;
  delete from tide.deliveries as d
  where d.delivery_id = any (
    array(
      select s.delivery_id
      from tide.deliveries as s
      where s.status in ('delivered', 'dropped')
        and s.finished_at < v_now - interval '7 days'
      order by s.finished_at
      limit 1000
      for update skip locked
    )
  );
  delete from tide.schedule_fires as f
  where f.ctid = any (
    array(
      select s.ctid
      from tide.schedule_fires as s
      where s.fire_at < v_now - interval '400 days'
        and s.created_at < v_now - interval '400 days'
      order by s.fire_at
      limit 10000
      for update skip locked
    )
  );
  delete from tide.endpoints as e
  where e.endpoint = any (
    array(
      select s.endpoint
      from tide.endpoints as s
      where s.claimed_at < v_now - interval '30 days'
      order by s.claimed_at
      limit 10000
      for update skip locked
    )
  );
  perform
  from tide.ticks as t
  for no key update skip locked;
  if found then
    update tide.ticks as t
    set reconciled_at = v_now;
  end if;
  return 0;
end;
$$;

comment on function tide._forget_stale_rows is
  'Remove what only helps for a while: old minutes, fires and sent webhooks, workers not seen for an '
  'hour, waiters and watchers that went, keys nobody holds any more, failures nobody met again.';
