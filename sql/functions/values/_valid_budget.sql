create or replace function tide._valid_budget(budget jsonb, prefix text default '')
returns jsonb
language plpgsql
stable
as $$
declare
  v_cost numeric;
begin
  if budget is null then
    return null;
  end if;
  perform tide._known_keys(
    prefix || 'budget', budget, '{max_cost_usd,max_tokens,max_steps,allowances,estimate}'
  );
  v_cost := tide._option_number(prefix || 'budget.max_cost_usd', budget -> 'max_cost_usd');
  if v_cost not between 0 and 1000000000 then
    raise exception '%budget.max_cost_usd is out of range: %', prefix, left(v_cost::text, 200)
      using errcode = '22023',
            hint = 'Give US dollars from 0 to 1000000000.';
  end if;
  perform tide._option_integer(
    prefix || 'budget.max_tokens', budget -> 'max_tokens', 0, 1000000000
  );
  perform tide._option_integer(prefix || 'budget.max_steps', budget -> 'max_steps', 0, 1000000000);
  if budget ? 'estimate' then
    perform tide._valid_estimate(prefix || 'budget.estimate', budget -> 'estimate');
  end if;
  if budget ? 'allowances' then
    perform tide._valid_scopes(prefix || 'budget.allowances', budget -> 'allowances');
  end if;
  return budget;
end;
$$;

comment on function tide._valid_budget is
  'The budget object of a run, or 22023: max_cost_usd, max_tokens and max_steps, none negative; '
  'allowances, scopes that have some, else TD010; estimate, what a step reserves that says nothing.';
