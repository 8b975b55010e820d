create or replace function tide._explain_turn(run tide.runs, lane tide.lanes)
returns jsonb
language plpgsql
stable
as $$
declare
  v_wait tide.lane_waits;
  v_turn_at timestamptz := run.turn_at;
  v_ahead bigint;
begin
  v_wait := (
    select w
    from tide.lane_waits as w
    where w.run_id = run.run_id
  );
  if v_wait.due_at is not null then
    v_turn_at := v_wait.run_at;
  elsif v_turn_at is null and v_wait.queue is null then
    return '[]'::jsonb;
  end if;
  select count(*)
  into v_ahead
  from (
    (
      select
      from tide.lane_heads as h
      where h.lane = run.lane
        and h.lane_key = coalesce(run.lane_key, '')
        and h.queue = run.queue
        and (v_turn_at is null or (h.turn_at, h.run_id) < (v_turn_at, run.run_id))
      order by h.lane, h.lane_key, h.turn_at
      limit 10000
    )
    union all
    (
      select
      from tide.lane_waits as w
      where v_turn_at is null
        and w.lane = run.lane
        and w.lane_key = run.lane_key
        and w.queue = run.queue
        and (
          w.priority > v_wait.priority
          or w.priority = v_wait.priority and (w.run_at, w.run_id) < (v_wait.run_at, v_wait.run_id)
        )
      order by w.lane, w.lane_key, w.queue, w.priority desc, w.run_at, w.run_id
      limit 10000
    )
  ) as a;
  if v_ahead = 0 then
    return '[]'::jsonb;
  end if;
  return tide._reason(
    'turn',
    'its lane serves the keys in turn, and others of its key come first',
    jsonb_build_object(
      'lane', run.lane,
      'lane_key', run.lane_key,
      'weight', tide._weight(_explain_turn.lane, run.lane_key),
      'ahead', v_ahead
    )
  );
end;
$$;

comment on function tide._explain_turn is
  'The reason turn of a run of a fair lane: its key and weight, and how many of its key and queue come '
  'before it, counted to some 10000; an empty list where none does.';
