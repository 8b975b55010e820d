-- Without a queue: in a lane beside its first one a run has no turn.
create or replace function tide._as_in(run tide.runs, other tide.run_lanes)
returns tide.runs
language plpgsql
immutable
parallel safe
as $$
declare
  v_run tide.runs := run;
begin
  v_run.lane := other.lane;
  v_run.lane_key := other.lane_key;
  v_run.cost := other.cost;
  v_run.lane_slot := other.lane_slot;
  v_run.lane_key_slot := other.lane_key_slot;
  v_run.units_left := other.units_left;
  v_run.turn_at := null;
  v_run.queue := null;
  return v_run;
end;
$$;

comment on function tide._as_in is
  'A run as it would be if one of its further lanes were that of its row.';
