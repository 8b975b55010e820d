create or replace function tide._reserve_step(
  run tide.runs,
  step text,
  lane text,
  lane_key text,
  cost numeric,
  estimate jsonb
)
returns text
language plpgsql
volatile
as $$
declare
  v_lacks text;
begin
  if num_nonnulls(lane, lane_key, cost) > 0 then
    v_lacks := tide._take_step_lane(
      _reserve_step.run,
      _reserve_step.step,
      _reserve_step.lane,
      _reserve_step.lane_key,
      _reserve_step.cost
    );
    if v_lacks is not null then
      return v_lacks;
    end if;
    run.lane := coalesce(run.lane, '');
  end if;
  if tide._park_over_budget(_reserve_step.run, _reserve_step.step, _reserve_step.estimate) then
    return 'budget';
  end if;
  return null;
end;
$$;

comment on function tide._reserve_step is
  'Take the place of a step in its lane and reserve what it may use; lane, wait or budget, as begin_step '
  'answers, when it cannot have them, null when it may begin.';
