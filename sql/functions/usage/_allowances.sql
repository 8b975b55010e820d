create or replace function tide._allowances(budgets tide.run_budget[])
returns tide.allowances[]
language plpgsql
stable
as $$
declare
  v_budget tide.run_budget;
  v_scopes text[] := array[]::text[];
begin
  foreach v_budget in array budgets loop
    if jsonb_typeof(v_budget.budget -> 'allowances') = 'array' then
      v_scopes := v_scopes || array(
        select s.scope
        from jsonb_array_elements_text(v_budget.budget -> 'allowances') as s(scope)
      );
    end if;
  end loop;
  if cardinality(v_scopes) = 0 then
    return array[]::tide.allowances[];
  end if;
  return array(
    select a
    from tide.allowances as a
    where a.scope = any (v_scopes)
    order by
      a.scope,
      a.unit,
      a.per
  );
end;
$$;

comment on function tide._allowances is
  'The allowances of the scopes that budgets name, in the order in which they are locked.';
