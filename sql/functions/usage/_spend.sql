-- Nearest first and then the allowances in their order, as everywhere. Of each there is one change: what
-- was reserved for the step is used up first, what goes beyond it is taken, what is not needed goes back.
create or replace function tide._spend(
  run tide.runs,
  step text,
  used tide.usage[],
  ends boolean
)
returns void
language plpgsql
volatile
as $$
declare
  v_cost numeric;
  v_tokens bigint;
  v_run_id uuid;
  v_usd numeric;
  v_tokens_covered numeric;
  v_allowance tide.allowances;
  v_amount numeric;
  v_reserved tide.reserved_amounts;
  v_freed uuid[] := array[]::uuid[];
begin
  if not tide._is_budgeted(run) then
    return;
  end if;
  select
    coalesce(sum(u.cost_usd), 0),
    coalesce(sum(u.total_tokens), 0)
  into
    v_cost,
    v_tokens
  from unnest(_spend.used) as u;
  for v_run_id in
    select l.run_id
    from tide._limits(_spend.run) as l
  loop
    v_usd := tide._use_reserved(run.run_id, step, v_run_id, 'usd', v_cost, ends);
    v_tokens_covered := tide._use_reserved(run.run_id, step, v_run_id, 'tokens', v_tokens, ends);
    insert into tide.spending as s (run_id, cost_usd, tokens)
    values (v_run_id, v_cost, v_tokens)
    on conflict on constraint spending_pkey do update
    set
      cost_usd = s.cost_usd + excluded.cost_usd,
      tokens = s.tokens + excluded.tokens,
      reserved_usd = greatest(s.reserved_usd - v_usd, 0),
      reserved_tokens = greatest(s.reserved_tokens - v_tokens_covered, 0);
    if v_usd > v_cost or v_tokens_covered > v_tokens then
      v_freed := v_freed || v_run_id;
    end if;
  end loop;
  for v_allowance in
    select a.*
    from tide._allowances(_spend.run) as a
  loop
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
    v_reserved := (
      select r
      from tide.reserved_amounts as r
      where r.run_id = run.run_id
        and r.step = _spend.step
        and r.holder_id = v_allowance.allowance_id
        and r.unit = v_allowance.unit
    );
    v_amount := v_amount - tide._use_reserved(
      run.run_id, step, v_allowance.allowance_id, v_allowance.unit, v_amount, ends
    );
    if v_amount > 0 then
      perform tide._overdraw(v_allowance, v_amount);
    elsif v_amount < 0 then
      perform tide._give(
        v_allowance.allowance_id, - v_amount, v_reserved.began_at, waits => true
      );
      v_freed := v_freed || v_allowance.allowance_id;
    end if;
  end loop;
  if ends then
    -- Of allowances the run is in no more.
    perform tide._release_reserved(array[run.run_id], step, waits => false);
  end if;
  perform tide._wake_waiting(f.holder_id)
  from unnest(v_freed) as f(holder_id);
end;
$$;

comment on function tide._spend is
  'Charge what a step used, null = no step, to the budgets and allowances of a run: out of what the step '
  'has reserved there, and beyond it out of what is left, or more. ends = and give back the rest.';
