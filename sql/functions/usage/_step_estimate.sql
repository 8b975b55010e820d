create or replace function tide._step_estimate(budgets tide.run_budget[], estimate jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_budget tide.run_budget;
begin
  foreach v_budget in array budgets loop
    if jsonb_typeof(v_budget.budget -> 'estimate') = 'object' then
      return (v_budget.budget -> 'estimate') || coalesce(estimate, '{}');
    end if;
  end loop;
  return coalesce(estimate, '{}');
end;
$$;

comment on function tide._step_estimate is
  'What a step is expected to use: as it says, and for other units as the nearest budget says.';
