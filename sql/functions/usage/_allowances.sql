create or replace function tide._allowances(run tide.runs)
returns setof tide.allowances
language plpgsql
stable
as $$
declare
  v_scopes constant text[] := array(
    select distinct s.scope
    from tide._budgets(_allowances.run) as b
    cross join lateral jsonb_array_elements_text(b.budget -> 'allowances') as s(scope)
    where jsonb_typeof(b.budget -> 'allowances') = 'array'
    order by s.scope
  );
begin
  if cardinality(v_scopes) = 0 then
    return;
  end if;
  return query
  select a.*
  from tide.allowances as a
  where a.scope = any (v_scopes)
  order by
    a.scope,
    a.unit,
    a.per;
end;
$$;

comment on function tide._allowances is
  'The allowances a run spends of: those of its own scopes and of its ancestors, in the order in which '
  'they are locked.';
