-- Below a floor lie only index entries of runs that are gone; while an old snapshot keeps vacuum
-- from removing them, each claim would walk them all. The ranges between floors are read in full,
-- so a priority nobody used before is never missed.
create or replace function tide._pick(queue text, max_runs integer, workflows text[])
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_picked uuid[] := array[]::uuid[];
  v_highest integer := 32767;
  v_floor tide.claim_floors;
begin
  foreach v_floor in array array(
    select f
    from tide.claim_floors as f
    where f.queue = _pick.queue
    order by f.priority desc
  ) loop
    v_picked := v_picked || tide._pick_down_to(
      v_floor,
      v_highest,
      _pick.max_runs - cardinality(v_picked),
      _pick.workflows
    );
    if cardinality(v_picked) >= _pick.max_runs then
      return v_picked;
    end if;
    v_highest := v_floor.priority - 1;
  end loop;
  return v_picked || tide._pick_range(
    _pick.queue, -32768, v_highest, _pick.max_runs - cardinality(v_picked), _pick.workflows
  );
end;
$$;

comment on function tide._pick is
  'Lock ready runs of a queue in claim order: higher priority, then earlier run_at, then run_id.';
