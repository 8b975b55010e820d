-- The shared lock keeps set_queue from counting running runs while a claim is between reading the
-- cap and committing; it is only tried, so a claim still never waits.
create or replace function tide._take(
  queue text,
  max_runs integer,
  workflows text[],
  push boolean
)
returns tide.taken
language plpgsql
volatile
as $$
declare
  v_queue tide.queues;
  v_drains boolean;
  v_room integer;
  v_picked uuid[];
  v_slots integer[];
  v_permits integer[];
begin
  if not pg_try_advisory_xact_lock_shared(1953064038, hashtext(_take.queue)) then
    return null;
  end if;
  select q.*
  into v_queue
  from tide.queues as q
  where q.queue = _take.queue;
  if v_queue.paused or (v_queue.push_url is not null) <> push then
    return null;
  end if;
  v_room := _take.max_runs;
  if v_queue.concurrency is not null or v_queue.rate_limit is not null then
    v_drains := v_queue.concurrency is not null and tide._drains(v_queue);
    -- While a lowered cap drains, one claim at a time counts who runs.
    if v_drains and not pg_try_advisory_xact_lock(1953064040, hashtext(_take.queue)) then
      return null;
    end if;
    v_room := tide._room(v_queue, _take.max_runs, v_drains);
  end if;
  if v_room = 0 then
    return null;
  end if;
  v_picked := tide._pick(_take.queue, v_room, _take.workflows);
  if v_queue.concurrency is not null and cardinality(v_picked) > 0 then
    v_slots := array(
      select s.slot
      from tide.slots as s
      where s.queue = _take.queue
        and s.slot <= v_queue.concurrency
        and s.run_id is null
      order by s.slot
      limit cardinality(v_picked)
      for no key update skip locked
    );
    v_picked := v_picked[:cardinality(v_slots)];
  end if;
  if v_queue.rate_limit is not null and cardinality(v_picked) > 0 then
    v_permits := tide._hold_permits(v_queue, cardinality(v_picked));
    v_picked := v_picked[:cardinality(v_permits)];
  end if;
  if cardinality(v_picked) = 0 then
    return null;
  end if;
  return (v_queue, v_picked, v_slots, v_permits)::tide.taken;
end;
$$;

comment on function tide._take is
  'Lock ready runs of one queue and a slot and a permit for each; null when there is nothing to take. '
  'push = for a dispatch, which only push queues allow, and they allow nothing else.';
