-- A paused queue would use up the place that another can use; upkeep looks again once it is no more. Where
-- half of the heads are left, these are claimed first, and the claim brings up the next ones.
create or replace function tide._bring_up_line(lane text, lane_key text, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_low constant integer := tide._turns() / 2;
  v_queue text := '';
  v_skipped boolean;
  v_brought integer := 0;
begin
  -- Of more queues than these the others come when one of these has no more waiting.
  for v_round in 1..100 loop
    exit when v_brought >= most;
    select
      f.queue,
      (
        select count(*) = v_low
        from (
          select
          from tide.lane_heads as h
          where h.lane = _bring_up_line.lane
            and h.lane_key = _bring_up_line.lane_key
            and h.queue = f.queue
          order by h.lane, h.lane_key, h.turn_at
          limit v_low
        ) as h
      )
      or coalesce(
        (
          select q.paused
          from tide.queues as q
          where q.queue = f.queue
        ),
        false
      )
    into
      v_queue,
      v_skipped
    from (
      select w.queue
      from tide.lane_waits as w
      where w.lane = _bring_up_line.lane
        and w.lane_key = _bring_up_line.lane_key
        and w.queue > v_queue
      order by w.lane, w.lane_key, w.queue, w.priority desc, w.run_at, w.run_id
      limit 1
    ) as f;
    exit when not found;
    continue when v_skipped;
    v_brought := v_brought + tide._bring_up(
      array[
        (
          _bring_up_line.lane,
          _bring_up_line.lane_key,
          v_queue,
          tide._turns(),
          _bring_up_line.most - v_brought
        )::tide.lane_lines
      ]
    );
  end loop;
  return v_brought;
end;
$$;

comment on function tide._bring_up_line is
  'Give turns to the first runs of a key of a fair lane that wait, of each queue with few heads, and return '
  'how many.';
