create or replace function tide._park_over_budget(run tide.runs)
returns boolean
language plpgsql
volatile
as $$
declare
  v_spent jsonb;
begin
  if run.budget is null and run.parent_id is null then
    return false;
  end if;
  perform tide._lock_spending(run);
  v_spent := tide._over_budget(run);
  if v_spent is null then
    perform tide._charge(run, 0, 0, 1);
    return false;
  end if;
  perform tide._park(run, 'budget', v_spent ->> 'run_id', jsonb_build_object('spent', v_spent));
  return true;
end;
$$;

comment on function tide._park_over_budget is
  'Charge one step to the budgets of a run, or park it when one is used up and return true.';
