create or replace function tide._add_lanes(run_id uuid, also_lanes jsonb)
returns void
language plpgsql
volatile
as $$
begin
  if also_lanes is null then
    return;
  end if;
  -- The same id may come twice.
  insert into tide.run_lanes (run_id, lane, lane_key, cost)
  select
    _add_lanes.run_id,
    e.lane,
    e.lane_key,
    e.cost::bigint
  from jsonb_to_recordset(_add_lanes.also_lanes) as e(lane text, lane_key text, cost numeric)
  on conflict on constraint run_lanes_pkey do nothing;
end;
$$;

comment on function tide._add_lanes is
  'Store the further lanes of a new run, which are valid; null = none.';
