create or replace function tide._reserve_budgets(
  run_id uuid,
  step text,
  estimate jsonb,
  limits tide.run_budget[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_run tide.run_budget;
  v_spent tide.spending;
  v_usd numeric;
  v_tokens numeric;
begin
  foreach v_run in array limits loop
    v_spent := (
      select s
      from tide.spending as s
      where s.run_id = v_run.run_id
    );
    v_usd := case
      when v_run.budget ->> 'max_cost_usd' is not null then coalesce(
        (_reserve_budgets.estimate ->> 'usd')::numeric,
        tide._usual_estimate(
          (v_run.budget ->> 'max_cost_usd')::numeric,
          v_spent.cost_usd + v_spent.reserved_usd,
          'usd'
        )
      )
    end;
    v_tokens := case
      when v_run.budget ->> 'max_tokens' is not null then coalesce(
        (_reserve_budgets.estimate ->> 'tokens')::numeric,
        tide._usual_estimate(
          (v_run.budget ->> 'max_tokens')::numeric,
          v_spent.tokens + v_spent.reserved_tokens,
          'tokens'
        )
      )
    end;
    update tide.spending as s
    set
      reserved_usd = s.reserved_usd + coalesce(v_usd, 0),
      reserved_tokens = s.reserved_tokens + coalesce(v_tokens, 0),
      steps = s.steps + 1
    where s.run_id = v_run.run_id;
    insert into tide.reserved_amounts as r (run_id, step, holder_id, unit, amount)
    select
      _reserve_budgets.run_id,
      _reserve_budgets.step,
      v_run.run_id,
      u.unit,
      u.amount
    from (
      values
        ('usd', v_usd),
        ('tokens', v_tokens)
    ) as u(unit, amount)
    where u.amount is not null
    on conflict on constraint reserved_amounts_pkey do update
    set amount = r.amount + excluded.amount;
  end loop;
end;
$$;

comment on function tide._reserve_budgets is
  'Reserve what a step is expected to use in budgets with limits, locked by the caller, in which enough '
  'is left, and count the step.';
