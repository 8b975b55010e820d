create or replace function tide._use_units(run tide.runs, usage tide.usage)
returns void
language plpgsql
volatile
as $$
declare
  v_lane tide.lanes;
  v_amount numeric;
  v_used bigint;
  v_left bigint;
  v_beyond bigint;
begin
  v_lane := (
    select l
    from tide.lanes as l
    where l.lane = run.lane
  );
  v_amount := case
    when v_lane.unit = 'tokens' and usage.total_tokens is not null then usage.total_tokens
    when v_lane.unit = usage.unit then ceil(usage.quantity)
  end;
  if coalesce(v_amount, 0) = 0 then
    return;
  end if;
  -- No lane allows as much, and no sum overflows.
  v_used := least(v_amount, 1000000000000000);
  update tide.runs_active as r
  set units_left = r.units_left - v_used
  where r.run_id = run.run_id
  returning r.units_left into v_left;
  v_beyond := least(v_used, -v_left);
  if v_beyond > 0 then
    -- In any purse: what is beyond its share is kept free in the others.
    insert into tide.lane_charges (lane, lane_key, purse, charged_at, run_id, units, open)
    select
      v_lane.lane,
      k.lane_key,
      1,
      tide._now(),
      run.run_id,
      v_beyond,
      true
    from unnest(array['', run.lane_key], array[v_lane.units, v_lane.units_per_key])
      as k(lane_key, units)
    where k.lane_key is not null
      and k.units is not null;
  end if;
end;
$$;

comment on function tide._use_units is
  'Count what a run under way has used against what it has reserved in its lane; what is beyond that is '
  'charged to its lines, also where they have nothing left.';
