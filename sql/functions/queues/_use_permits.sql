create or replace function tide._use_permits(queue tide.queues, permits integer[])
returns void
language plpgsql
volatile
as $$
begin
  update tide.permits as p
  set available_at = tide._now() + _use_permits.queue.rate_period
  where p.queue = _use_permits.queue.queue
    and p.permit = any (_use_permits.permits);
end;
$$;

comment on function tide._use_permits is
  'Make permits available again one period from now; called after the starts they allowed are '
  'written, so that no window measured by those starts holds too many.';
