-- As _park_in_line would put the run: but in the line of its own key it keeps its turn.
create or replace function tide._waits_before(wait tide.lane_waits, run tide.runs)
returns boolean
language plpgsql
immutable
parallel safe
as $$
declare
  v_kept constant boolean := run.turn_at is not null
    and (wait.lane_key = '' or wait.lane <> run.lane);
  v_priority constant integer := case when v_kept then 0 else run.priority end;
begin
  return wait.priority > v_priority
    or wait.priority = v_priority
    and (wait.run_at, wait.run_id)
      < (case when v_kept then run.turn_at else run.run_at end, run.run_id);
end;
$$;

comment on function tide._waits_before is
  'Whether a run that waits in a line of a lane comes before a ready one that would wait there too.';
