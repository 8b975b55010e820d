create or replace function tide._step_estimate(run tide.runs, estimate jsonb)
returns jsonb
language plpgsql
stable
as $$
begin
  return coalesce(
    (
      select b.budget -> 'estimate'
      from tide._budgets(_step_estimate.run) with ordinality as b(run_id, budget, distance)
      where jsonb_typeof(b.budget -> 'estimate') = 'object'
      order by b.distance
      limit 1
    ),
    '{}'
  ) || coalesce(_step_estimate.estimate, '{}');
end;
$$;

comment on function tide._step_estimate is
  'What a step is expected to use: as it says, and for other units as the nearest budget says.';
