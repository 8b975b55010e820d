-- The caller has locked the row of the queue, so nobody else makes or removes its slots. What a
-- claim holds just now is left alone: a busy slot above the cap goes once it is free, by upkeep.
create or replace function tide._set_slots(queue text, concurrency integer)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.slots (queue, slot)
  select
    _set_slots.queue,
    n.slot
  from generate_series(1, _set_slots.concurrency) as n(slot)
  -- An insert would wait for a claim that updates the row it conflicts with.
  where not exists (
    select
    from tide.slots as s
    where s.queue = _set_slots.queue
      and s.slot = n.slot
  )
  order by n.slot;
  delete from tide.slots as s
  where s.queue = _set_slots.queue
    and s.slot = any (
      array(
        select o.slot
        from tide.slots as o
        where o.queue = _set_slots.queue
          and o.slot > coalesce(_set_slots.concurrency, 0)
          and o.run_id is null
        for update skip locked
      )
    );
end;
$$;

comment on function tide._set_slots is
  'Make as many slots as the cap of a locked queue says, and remove free ones above it.';
