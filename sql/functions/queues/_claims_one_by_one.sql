create or replace function tide._claims_one_by_one(queue tide.queues)
returns boolean
language plpgsql
volatile
as $$
begin
  if _claims_one_by_one.queue.concurrency is null
    or not exists (
      select
      from tide.slots as s
      where s.queue = _claims_one_by_one.queue.queue
        and s.slot > _claims_one_by_one.queue.concurrency
    )
  then
    return true;
  end if;
  return pg_try_advisory_xact_lock(
    1953064038, hashtext(_claims_one_by_one.queue.queue)
  );
end;
$$;

comment on function tide._claims_one_by_one is
  'Whether this claim may go on: while runs from before a cap was lowered hold slots above it, free '
  'slots alone do not say how many may start, and one claim at a time counts.';
