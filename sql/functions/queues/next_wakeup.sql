create or replace function tide.next_wakeup(queues text[] default '{default}')
returns interval
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_queues constant text[] := tide._valid_queues(next_wakeup.queues);
begin
  perform tide._require_queue(q.queue)
  from unnest(v_queues) as q(queue);
  if tide._is_at_work()
    and exists (
      select
      from unnest(v_queues) as q(queue)
      where tide._has_ready(q.queue)
    )
  then
    return interval '0';
  end if;
  return tide._next_wakeup(v_queues);
end;
$$;

comment on function tide.next_wakeup is
  'How long no run of these queues can become ready by itself: until the next delay, schedule, '
  'time-out or lease ends; null = never, 0 = now. What is enqueued meanwhile is not foreseen.';
