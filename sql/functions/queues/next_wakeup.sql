create or replace function tide.next_wakeup(queues text[] default '{default}')
returns interval
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_queue(n.queue)
  from unnest(tide._valid_queues(next_wakeup.queues)) as n(queue);
  return tide._next_wakeup(tide._valid_queues(next_wakeup.queues));
end;
$$;

comment on function tide.next_wakeup is
  'How long no run of these queues can become ready by itself: until the next delay, schedule, '
  'time-out or lease ends; null = never, 0 = now. What is enqueued meanwhile is not foreseen.';
