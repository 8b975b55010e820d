create or replace function tide._valid_budget(budget jsonb, prefix text default '')
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_cost numeric;
begin
  if budget is null then
    return null;
  end if;
  perform tide._known_keys(prefix || 'budget', budget, '{max_cost_usd,max_tokens,max_steps}');
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
  return budget;
end;
$$;

comment on function tide._valid_budget is
  'The budget object of a run, or 22023: max_cost_usd, max_tokens and max_steps, none negative.';
