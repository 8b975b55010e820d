create or replace function tide._take_permits(queue tide.queues, wanted integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_permits constant integer[] := array(
    select p.permit
    from tide.permits as p
    where p.queue = _take_permits.queue.queue
      and p.available_at <= v_now
    order by p.available_at, p.permit
    limit _take_permits.wanted
    for no key update skip locked
  );
begin
  -- The clock is read again for each row: the window starts when the permit is taken, not before.
  update tide.permits as p
  set available_at = tide._now() + _take_permits.queue.rate_period
  from unnest(v_permits) as t(permit)
  where p.queue = _take_permits.queue.queue
    and p.permit = t.permit;
  return cardinality(v_permits);
end;
$$;

comment on function tide._take_permits is
  'Take up to wanted permits of a rated queue and return how many; rolled back, they are free again.';
