create or replace function tide._valid_scopes(argument text, scopes jsonb)
returns boolean
language plpgsql
stable
as $$
declare
  v_scope text;
begin
  if coalesce(scopes, 'null') = 'null' then
    return true;
  end if;
  if jsonb_typeof(scopes) <> 'array'
    or jsonb_array_length(scopes) > 16
    or jsonb_path_exists(scopes, 'strict $[*] ? (@.type() != "string")')
  then
    raise exception '% is not a list of at most 16 scopes: %', _valid_scopes.argument,
        left(_valid_scopes.scopes::text, 200)
      using errcode = '22023',
            hint = 'Give a list such as ["tenant:acme"].';
  end if;
  for v_scope in
    select e.scope
    from jsonb_array_elements_text(_valid_scopes.scopes) with ordinality as e(scope, ordinality)
    order by e.ordinality
  loop
    perform tide._valid_text(_valid_scopes.argument, v_scope, 256);
    if not exists (
      select
      from tide.allowances as a
      where a.scope = v_scope
    ) then
      raise exception '% names scope %, which has no allowance', _valid_scopes.argument,
          quote_literal(v_scope)
        using errcode = 'TD010',
              hint = 'Set one with tide.set_allowance, or leave the scope out.';
    end if;
  end loop;
  return true;
end;
$$;

comment on function tide._valid_scopes is
  'True, or 22023: at most 16 scopes; one without an allowance: TD010.';
