-- No event: the run has not begun, it waits for its turn as behind the cap of a queue.
create or replace function tide._park_in_line(
  lane text,
  run_ids uuid[],
  lane_key text,
  waiting_on text
)
returns void
language plpgsql
volatile
as $$
begin
  -- What the row tells is written down for as long as it has no run_at; afterwards it tells the rest.
  perform tide._write_told_events(_park_in_line.run_ids);
  -- In the line of their own key they wait for the next turn; in the others they keep the one they have.
  insert into tide.lane_waits (run_id, lane, lane_key, priority, run_at, queue, due_at, run_key)
  select
    r.run_id,
    _park_in_line.lane,
    _park_in_line.lane_key,
    case when k.kept then 0 else r.priority end,
    case when k.kept then r.turn_at else r.run_at end,
    case when k.own_key then r.queue end,
    case when k.kept then r.run_at end,
    case
      when _park_in_line.lane_key <> '' then null
      when r.lane = _park_in_line.lane then r.lane_key
      else (
        select max(o.lane_key)
        from tide.run_lanes as o
        where o.run_id = r.run_id
          and o.lane = _park_in_line.lane
      )
    end
  from tide.runs_active as r
  cross join lateral (
    select
      n.own_key,
      r.turn_at is not null and not n.own_key as kept
    from (
      select _park_in_line.lane_key <> '' and r.lane = _park_in_line.lane as own_key
    ) as n
  ) as k
  where r.run_id = any (_park_in_line.run_ids);
  if lane_key <> '' then
    perform tide._drop_heads(
      array(
        select r.run_id
        from tide.runs_active as r
        where r.run_id = any (_park_in_line.run_ids)
          and r.lane = _park_in_line.lane
      )
    );
  end if;
  update tide.runs_active as r
  set
    ready = false,
    waiting_on = _park_in_line.waiting_on,
    waiting_for = _park_in_line.lane,
    run_at = null,
    turn_at = null
  where r.run_id = any (_park_in_line.run_ids);
end;
$$;

comment on function tide._park_in_line is
  'Take ready runs, locked by the caller, out of the order of claims until a place in a line of one of '
  'their lanes is free, or that is open no more: waiting_on says what for.';
