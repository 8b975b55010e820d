create or replace function tide._hold_permits(queue tide.queues, wanted integer)
returns integer[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  return array(
    select p.permit
    from tide.permits as p
    where p.queue = _hold_permits.queue.queue
      and p.available_at <= v_now
    order by p.available_at, p.permit
    limit _hold_permits.wanted
    for no key update skip locked
  );
end;
$$;

comment on function tide._hold_permits is
  'Lock up to wanted permits of a rated queue; rolled back, they are free again.';
