create or replace function tide._limits(budgets tide.run_budget[])
returns tide.run_budget[]
language plpgsql
immutable
parallel safe
as $$
declare
  v_budget tide.run_budget;
  v_limits tide.run_budget[] := array[]::tide.run_budget[];
begin
  foreach v_budget in array budgets loop
    if num_nonnulls(
        v_budget.budget ->> 'max_cost_usd',
        v_budget.budget ->> 'max_tokens',
        v_budget.budget ->> 'max_steps'
      ) > 0
    then
      v_limits := v_limits || v_budget;
    end if;
  end loop;
  return v_limits;
end;
$$;

comment on function tide._limits is 'Those of some budgets that have limits of their own.';
