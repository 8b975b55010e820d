create or replace function tide._set_permits(old tide.queues, new tide.queues)
returns void
language plpgsql
volatile
as $$
begin
  if old.rate_period <> new.rate_period then
    update tide.permits as p
    set available_at = p.available_at - old.rate_period + new.rate_period
    where p.queue = new.queue;
  end if;
  insert into tide.permits (queue, permit, available_at)
  select
    new.queue,
    n.permit,
    '-infinity'
  from generate_series(1, new.rate_limit) as n(permit)
  on conflict on constraint permits_pkey do nothing;
  -- The permits used last go last: what was started within the period still counts.
  delete from tide.permits as p
  where p.queue = new.queue
    and p.permit not in (
      select k.permit
      from tide.permits as k
      where k.queue = new.queue
      order by k.available_at desc, k.permit
      limit coalesce(new.rate_limit, 0)
    );
end;
$$;

comment on function tide._set_permits is
  'Make as many permits as the limit says; starts within the period go on counting.';
