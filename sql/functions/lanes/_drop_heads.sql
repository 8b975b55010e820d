create or replace function tide._drop_heads(run_ids uuid[])
returns void
language plpgsql
volatile
as $$
declare
  v_head record;
begin
  for v_head in
    select
      r.lane,
      coalesce(r.lane_key, '') as lane_key,
      r.turn_at,
      r.run_id
    from tide.runs_active as r
    where r.run_id = any (_drop_heads.run_ids)
      and r.turn_at is not null
  loop
    delete from tide.lane_heads as h
    where h.lane = v_head.lane
      and h.lane_key = v_head.lane_key
      and h.turn_at = v_head.turn_at
      and h.run_id = v_head.run_id;
  end loop;
end;
$$;

comment on function tide._drop_heads is
  'Take ready runs, locked by the caller, off the list of those that have a turn.';
