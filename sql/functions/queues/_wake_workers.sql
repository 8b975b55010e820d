-- A row taken away is a worker that will be told at commit. When other transactions hold all of
-- them, everybody is told: one of those may stay open for long, or roll back. Who did not renew its
-- row in time is dead and must not be told in place of another.
create or replace function tide._wake_workers(queue text, runs integer)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_told text[];
begin
  if _wake_workers.runs < 1 or not exists (
    select
    from tide.waiters as w
    where w.queue = _wake_workers.queue
      and w.until >= v_now
  ) then
    return;
  end if;
  with woken as (
    delete from tide.waiters as w
    using (
      select
        s.waiter,
        s.since
      from tide.waiters as s
      where s.queue = _wake_workers.queue
        and s.until >= v_now
      limit _wake_workers.runs
      for update skip locked
    ) as s
    where w.queue = _wake_workers.queue
      and w.waiter = s.waiter
      and w.since = s.since
    returning w.waiter
  )
  select array_agg(distinct tide._told_as(k.waiter))
  into v_told
  from woken as k;
  perform pg_notify('tide_work', n.told)
  from unnest(coalesce(v_told, array['*'])) as n(told);
end;
$$;

comment on function tide._wake_workers is
  'Notify idle workers of a queue that runs are ready; where nobody waits it does nothing.';
