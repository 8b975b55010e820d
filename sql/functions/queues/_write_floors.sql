create or replace function tide._write_floors(
  queues text[],
  priorities integer[],
  floors timestamptz[],
  idle_floor timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  v_floor record;
begin
  for v_floor in
    select
      f.queue,
      f.priority,
      coalesce(n.floor, _write_floors.idle_floor) as floor
    from tide.claim_floors as f
    left join unnest(_write_floors.queues, _write_floors.priorities, _write_floors.floors)
      as n(queue, priority, floor)
      on n.queue = f.queue
      and n.priority = f.priority
    where f.run_at is distinct from coalesce(n.floor, _write_floors.idle_floor)
    for no key update of f skip locked
  loop
    if v_floor.floor is null then
      delete from tide.claim_floors as f
      where f.queue = v_floor.queue
        and f.priority = v_floor.priority;
    else
      update tide.claim_floors as f
      set run_at = v_floor.floor
      where f.queue = v_floor.queue
        and f.priority = v_floor.priority;
    end if;
  end loop;
  insert into tide.claim_floors (queue, priority, run_at)
  select
    n.queue,
    n.priority,
    n.floor
  from unnest(_write_floors.queues, _write_floors.priorities, _write_floors.floors)
    as n(queue, priority, floor)
  where n.floor > '-infinity'
    -- An insert would wait for whoever updates the row it conflicts with.
    and not exists (
      select
      from tide.claim_floors as f
      where f.queue = n.queue
        and f.priority = n.priority
    )
  order by
    n.queue,
    n.priority
  on conflict on constraint claim_floors_pkey do nothing;
end;
$$;

comment on function tide._write_floors is
  'Store computed floors without waiting for anybody; floors not computed go, unless idle_floor is set.';
