create or replace function tide._end_step_lanes(
  run tide.runs,
  step text,
  error jsonb default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_other tide.run_lanes;
begin
  for v_other in
    select o.*
    from tide.run_lanes as o
    where o.run_id = run.run_id
      and o.step = _end_step_lanes.step
  loop
    if error is not null then
      perform tide._note_failure(
        tide._as_in(_end_step_lanes.run, v_other), _end_step_lanes.error, null
      );
    end if;
    perform tide._end_more_lanes(
      v_other,
      nullif(coalesce(v_other.cost, 1) - v_other.units_left, 0),
      completed => error is null
    );
  end loop;
end;
$$;

comment on function tide._end_step_lanes is
  'Give back what a step that ended held in its lane, but for the units it recorded, all where it recorded '
  'none; error = it failed, which the breaker counts.';
