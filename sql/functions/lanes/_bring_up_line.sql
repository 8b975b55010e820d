-- A paused queue would use up the place that another can use; upkeep looks again once it is no more.
create or replace function tide._bring_up_line(lane text, lane_key text, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_queue text := '';
  v_brought integer := 0;
begin
  -- Of more queues than these the others come when one of these has no more waiting.
  for v_round in 1..100 loop
    exit when v_brought >= most;
    select w.queue
    into v_queue
    from tide.lane_waits as w
    where w.lane = _bring_up_line.lane
      and w.lane_key = _bring_up_line.lane_key
      and w.queue > v_queue
    order by w.lane, w.lane_key, w.queue, w.priority desc, w.run_at, w.run_id
    limit 1;
    exit when not found;
    continue when exists (
      select
      from tide.queues as q
      where q.queue = v_queue
        and q.paused
    );
    v_brought := v_brought + tide._bring_up(
      _bring_up_line.lane,
      _bring_up_line.lane_key,
      v_queue,
      tide._turns(),
      _bring_up_line.most - v_brought
    );
  end loop;
  return v_brought;
end;
$$;

comment on function tide._bring_up_line is
  'Give turns to the first runs of a key of a fair lane that wait, of each queue, and return how many.';
