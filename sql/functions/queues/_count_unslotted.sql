create or replace function tide._count_unslotted(queue tide.queues)
returns integer
language plpgsql
volatile
as $$
begin
  return (
      select count(*)
      from tide.runs_active as r
      where r.queue = _count_unslotted.queue.queue
        and r.slot is null
        and (r.status = 'running' or r.dispatched_until is not null)
    ) + (
      select count(*)
      from tide.slots as s
      where s.queue = _count_unslotted.queue.queue
        and s.slot > _count_unslotted.queue.concurrency
        and s.run_id is not null
    );
end;
$$;

comment on function tide._count_unslotted is
  'How many running or pushed runs of a capped queue hold no slot within its cap, because they were '
  'claimed before the cap was set or lowered.';
