create or replace function tide._write_floors(
  floors tide.claim_floors[],
  settled timestamptz,
  held boolean
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
      w.run_at,
      w.first_id
    from tide.claim_floors as f
    left join unnest(_write_floors.floors) as n
      on n.queue = f.queue
      and n.priority = f.priority
    cross join lateral (
      select
        case
          when n.queue is not null then n.run_at
          when _write_floors.held then _write_floors.settled
        end as run_at,
        case
          when n.queue is not null then n.first_id
          else tide._lowest_id()
        end as first_id
    ) as w
    where (f.run_at, f.first_id) is distinct from (w.run_at, w.first_id)
    for no key update of f skip locked
  loop
    if v_floor.run_at is null then
      delete from tide.claim_floors as f
      where f.queue = v_floor.queue
        and f.priority = v_floor.priority;
    else
      update tide.claim_floors as f
      set
        run_at = v_floor.run_at,
        first_id = v_floor.first_id
      where f.queue = v_floor.queue
        and f.priority = v_floor.priority;
    end if;
  end loop;
  insert into tide.claim_floors (queue, priority, run_at, first_id)
  select
    n.queue,
    n.priority,
    n.run_at,
    n.first_id
  from unnest(_write_floors.floors) as n
  -- An insert would wait for whoever updates the row it conflicts with.
  where n.run_at is not null
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
  'Store computed floors without waiting for anybody; one without a run_at goes. settled = of queues '
  'not computed nothing is ready: their floors rise to it when held, and go otherwise; null = they go.';
