-- Nearest first and then the allowances in their order, as everywhere. Of each there is one change: what
-- was reserved for the step is used up first, what goes beyond it is taken, what is not needed goes back.
create or replace function tide._spend(
  run tide.runs,
  step text,
  used tide.usage[],
  ends boolean,
  budgets tide.run_budget[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_cost numeric := 0;
  v_tokens bigint := 0;
  v_usage tide.usage;
  v_limit tide.run_budget;
  v_usd numeric;
  v_tokens_covered numeric;
  v_allowance tide.allowances;
  v_amount numeric;
  v_reserved tide.reserved_amounts;
  v_freed uuid[] := array[]::uuid[];
  v_holder_id uuid;
begin
  if cardinality(budgets) = 0 then
    return;
  end if;
  foreach v_usage in array used loop
    v_cost := v_cost + coalesce(v_usage.cost_usd, 0);
    v_tokens := v_tokens + coalesce(v_usage.total_tokens, 0);
  end loop;
  foreach v_limit in array tide._limits(budgets) loop
    v_usd := (
      tide._use_reserved(run.run_id, step, v_limit.run_id, 'usd', v_cost, ends)
    ).amount;
    v_tokens_covered := (
      tide._use_reserved(run.run_id, step, v_limit.run_id, 'tokens', v_tokens, ends)
    ).amount;
    insert into tide.spending as s (run_id, cost_usd, tokens)
    values (v_limit.run_id, v_cost, v_tokens)
    on conflict on constraint spending_pkey do update
    set
      cost_usd = s.cost_usd + excluded.cost_usd,
      tokens = s.tokens + excluded.tokens,
      reserved_usd = greatest(s.reserved_usd - v_usd, 0),
      reserved_tokens = greatest(s.reserved_tokens - v_tokens_covered, 0);
    if v_usd > v_cost or v_tokens_covered > v_tokens then
      v_freed := v_freed || v_limit.run_id;
    end if;
  end loop;
  foreach v_allowance in array tide._allowances(budgets) loop
    v_amount := case v_allowance.unit
      when 'usd' then v_cost
      when 'tokens' then v_tokens
      else coalesce(
        (
          select sum(u.quantity)
          from unnest(_spend.used) as u
          where u.unit = v_allowance.unit
        ),
        0
      )
    end;
    v_reserved := tide._use_reserved(
      run.run_id, step, v_allowance.allowance_id, v_allowance.unit, v_amount, ends
    );
    if v_amount > v_reserved.amount then
      perform tide._overdraw(v_allowance, v_amount - v_reserved.amount);
    elsif v_amount < v_reserved.amount then
      perform tide._give(
        v_allowance.allowance_id,
        v_reserved.amount - v_amount,
        v_reserved.began_at,
        waits => true
      );
      v_freed := v_freed || v_allowance.allowance_id;
    end if;
  end loop;
  if ends then
    -- Of allowances the run is in no more.
    perform tide._release_reserved(array[run.run_id], step, waits => false);
  end if;
  foreach v_holder_id in array v_freed loop
    perform tide._wake_waiting(v_holder_id);
  end loop;
end;
$$;

comment on function tide._spend is
  'Charge what a step used, null = no step, to the budgets of a run, as _lock_budgets answers them, and '
  'their allowances: out of what the step has reserved there, and beyond it out of what is left, or more. '
  'ends = and give back the rest.';
