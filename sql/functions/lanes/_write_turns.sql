create or replace function tide._write_turns(
  heads tide.lane_heads[],
  run_ats timestamptz[] default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_run_ids uuid[];
  v_turns timestamptz[];
begin
  select
    array_agg(h.run_id),
    array_agg(h.turn_at)
  into
    v_run_ids,
    v_turns
  from unnest(_write_turns.heads) as h;
  insert into tide.lane_heads (lane, lane_key, turn_at, run_id, queue)
  select
    h.lane,
    h.lane_key,
    h.turn_at,
    h.run_id,
    h.queue
  from unnest(_write_turns.heads) as h;
  update tide.runs_active as r
  set
    ready = true,
    waiting_on = null,
    waiting_for = null,
    run_at = coalesce(r.run_at, _write_turns.run_ats[array_position(v_run_ids, r.run_id)]),
    turn_at = v_turns[array_position(v_run_ids, r.run_id)]
  where r.run_id = any (v_run_ids);
  delete from tide.lane_waits as w
  where w.run_id = any (v_run_ids);
  perform tide._make_ready(g.queue, 0, least(g.turn_at, tide._now()), g.runs)
  from (
    select
      h.queue,
      min(h.turn_at) as turn_at,
      count(*)::integer as runs
    from unnest(_write_turns.heads) as h
    group by h.queue
  ) as g;
end;
$$;

comment on function tide._write_turns is
  'Put runs of fair lanes, locked by the caller, into the order of claims, each at its turn; '
  'run_ats = that of each that waits in a line.';
