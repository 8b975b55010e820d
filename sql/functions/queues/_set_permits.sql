-- The caller has locked the row of the queue. What a claim holds just now is left alone: it is
-- among the permits used last, and these are kept.
create or replace function tide._set_permits(old tide.queues, new tide.queues)
returns void
language plpgsql
volatile
as $$
declare
  v_permits integer[];
begin
  v_permits := array(
    select p.permit
    from tide.permits as p
    where p.queue = new.queue
    order by p.available_at, p.permit
    for update skip locked
  );
  if old.rate_period <> new.rate_period then
    update tide.permits as p
    set available_at = p.available_at - old.rate_period + new.rate_period
    where p.queue = new.queue
      and p.permit = any (v_permits);
  end if;
  insert into tide.permits (queue, permit, available_at)
  select
    new.queue,
    n.permit,
    '-infinity'
  from generate_series(1, new.rate_limit) as n(permit)
  -- As in _set_slots.
  where not exists (
    select
    from tide.permits as p
    where p.queue = new.queue
      and p.permit = n.permit
  )
  order by n.permit;
  -- The permits used last go last: what was started within the period still counts.
  delete from tide.permits as p
  where p.queue = new.queue
    and p.permit = any (
      array(
        select k.permit
        from tide.permits as k
        where k.queue = new.queue
        order by k.available_at desc, k.permit
        offset coalesce(new.rate_limit, 0)
        for update skip locked
      )
    );
end;
$$;

comment on function tide._set_permits is
  'Make as many permits as the limit says; starts within the period go on counting.';
