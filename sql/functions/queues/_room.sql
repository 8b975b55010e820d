create or replace function tide._room(queue tide.queues, wanted integer, drains boolean)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_room integer := _room.wanted;
begin
  if drains then
    select least(_room.wanted, _room.queue.concurrency - count(s.run_id))
    into v_room
    from tide.slots as s
    where s.queue = _room.queue.queue;
  elsif _room.queue.concurrency is not null then
    select count(*)
    into v_room
    from (
      select
      from tide.slots as s
      where s.queue = _room.queue.queue
        and s.slot <= _room.queue.concurrency
        and s.run_id is null
      limit _room.wanted
    ) as free;
  end if;
  if v_room > 0 and _room.queue.rate_limit is not null then
    select count(*)
    into v_room
    from (
      select
      from tide.permits as p
      where p.queue = _room.queue.queue
        and p.available_at <= v_now
      limit v_room
    ) as available;
  end if;
  return greatest(v_room, 0);
end;
$$;

comment on function tide._room is
  'How many runs the cap and rate of a queue seem to allow: a look without locks, so that a full '
  'queue costs its claimers next to nothing.';
