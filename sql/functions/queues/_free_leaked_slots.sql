-- The slot is locked first and the run read in a later statement: a look at both in one statement
-- could judge a slot just taken by an older picture of its run, and free it.
create or replace function tide._free_leaked_slots(max_slots integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_slot tide.slots;
  v_freed integer := 0;
begin
  for v_slot in
    select s.*
    from tide.slots as s
    where s.run_id is not null
      and not exists (
        select
        from tide.runs_active as r
        where r.run_id = s.run_id
          and r.slot = s.slot
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
  delete from tide.slots as s
  using (
    select
      q.queue,
      coalesce(q.concurrency, 0) as concurrency
    from tide.queues as q
  ) as q
  where s.queue = q.queue
    and s.slot > q.concurrency
    and s.run_id is null;
  return v_freed;
end;
$$;

comment on function tide._free_leaked_slots is
  'Free slots whose run does not hold them, and remove drained slots above the cap.';
