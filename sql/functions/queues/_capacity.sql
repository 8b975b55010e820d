create or replace function tide._capacity(queue tide.queues, wanted integer, unslotted integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_capacity integer := _capacity.wanted;
begin
  if _capacity.queue.concurrency is not null then
    select count(*) - _capacity.unslotted
    into v_capacity
    from (
      select
      from tide.slots as s
      where s.queue = _capacity.queue.queue
        and s.slot <= _capacity.queue.concurrency
        and s.run_id is null
      limit _capacity.wanted + _capacity.unslotted
    ) as free;
  end if;
  if v_capacity > 0 and _capacity.queue.rate_limit is not null then
    select count(*)
    into v_capacity
    from (
      select
      from tide.permits as p
      where p.queue = _capacity.queue.queue
        and p.available_at <= v_now
      limit v_capacity
    ) as available;
  end if;
  return greatest(v_capacity, 0);
end;
$$;

comment on function tide._capacity is
  'How many runs the cap and rate of a queue seem to allow: a look without locks, so that a full '
  'queue costs its claimers next to nothing.';
