create or replace function tide._drains(queue tide.queues)
returns boolean
language plpgsql
volatile
as $$
begin
  return exists (
    select
    from tide.slots as s
    where s.queue = _drains.queue.queue
      and s.slot > _drains.queue.concurrency
      and s.run_id is not null
  );
end;
$$;

comment on function tide._drains is
  'Whether runs from before a cap was lowered still hold slots above it: until they end, free slots '
  'alone do not say how many may start.';
