create or replace function tide._set_slots(queue text, concurrency integer)
returns void
language plpgsql
volatile
as $$
declare
  v_run_id uuid;
  v_slot integer;
begin
  if _set_slots.concurrency is not null then
    insert into tide.slots (queue, slot)
    select
      _set_slots.queue,
      n.slot
    from generate_series(1, _set_slots.concurrency) as n(slot)
    on conflict on constraint slots_pkey do nothing;
    for v_run_id in
      select r.run_id
      from tide.runs_active as r
      where r.queue = _set_slots.queue
        and (r.status = 'running' or r.dispatched_until is not null)
        and r.slot is null
      order by r.run_id
      for no key update
    loop
      select s.slot
      into v_slot
      from tide.slots as s
      where s.queue = _set_slots.queue
        and s.run_id is null
      order by s.slot
      limit 1
      for no key update;
      if not found then
        insert into tide.slots as s (queue, slot)
        select
          _set_slots.queue,
          max(o.slot) + 1
        from tide.slots as o
        where o.queue = _set_slots.queue
        returning s.slot into v_slot;
      end if;
      update tide.slots as s
      set run_id = v_run_id
      where s.queue = _set_slots.queue
        and s.slot = v_slot;
      update tide.runs_active as r
      set slot = v_slot
      where r.run_id = v_run_id;
    end loop;
  end if;
  -- Busy slots above the cap drain: nobody takes them again, and they go once they are free.
  delete from tide.slots as s
  where s.queue = _set_slots.queue
    and s.run_id is null
    and s.slot > coalesce(_set_slots.concurrency, 0);
end;
$$;

comment on function tide._set_slots is
  'Make as many slots as the cap says and give one to each running or pushed run that has none.';
