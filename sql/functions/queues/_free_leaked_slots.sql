-- The slot is locked first and the run read in a later statement: a look at both in one statement
-- could judge a slot just taken by an older picture of its run, and free it.
create or replace function tide._free_leaked_slots(max_slots integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_slot tide.slots;
  v_queue tide.queues;
  v_freed integer := 0;
begin
  for v_slot in
    select s.*
    from tide.slots as s
    where s.run_id is not null
      and not exists (
        select
        from (
          select a.slot
          from tide.runs_active as a
          where a.run_id = s.run_id
          offset 0
        ) as r
        where r.slot = s.slot
      )
    limit _free_leaked_slots.max_slots
  loop
    perform
    from tide.slots as s
    where s.queue = v_slot.queue
      and s.slot = v_slot.slot
      and s.run_id = v_slot.run_id
    for no key update skip locked;
    if found and not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_slot.run_id
        and r.queue = v_slot.queue
        and r.slot = v_slot.slot
    ) then
      update tide.slots as s
      set run_id = null
      where s.queue = v_slot.queue
        and s.slot = v_slot.slot;
      v_freed := v_freed + 1;
    end if;
  end loop;
  -- What set_queue left to claims that were under way, and slots and permits that are missing.
  for v_queue in
    select q.*
    from tide.queues as q
    where (
        select count(*) <> coalesce(q.concurrency, 0)
        from tide.slots as s
        where s.queue = q.queue
          and (s.slot <= q.concurrency or s.run_id is null)
      )
      or (
        select count(*) <> coalesce(q.rate_limit, 0)
        from tide.permits as p
        where p.queue = q.queue
      )
    order by q.queue
    limit _free_leaked_slots.max_slots
    for no key update skip locked
  loop
    perform tide._set_slots(v_queue.queue, v_queue.concurrency);
    perform tide._set_permits(v_queue, v_queue);
  end loop;
  return v_freed;
end;
$$;

comment on function tide._free_leaked_slots is
  'Free slots whose run does not hold them; make slots and permits as many as each queue should have.';
