create or replace function tide._check_units(
  run_id uuid,
  estimate jsonb,
  limits tide.run_budget[],
  allowances tide.allowances[]
)
returns boolean
language plpgsql
stable
as $$
declare
  v_limit tide.run_budget;
  v_allowance tide.allowances;
  v_units text[] := array[]::text[];
  v_unknown text;
begin
  if estimate is null then
    return true;
  end if;
  foreach v_limit in array limits loop
    if v_limit.budget ->> 'max_cost_usd' is not null then
      v_units := v_units || text 'usd';
    end if;
    if v_limit.budget ->> 'max_tokens' is not null then
      v_units := v_units || text 'tokens';
    end if;
  end loop;
  foreach v_allowance in array allowances loop
    v_units := v_units || v_allowance.unit;
  end loop;
  if cardinality(v_units) = 0 or estimate - v_units = '{}' then
    return true;
  end if;
  select o.key
  into v_unknown
  from jsonb_object_keys(_check_units.estimate) as o(key)
  where o.key <> all (v_units)
    -- What every model reports may be given everywhere, beside what is limited here.
    and (o.key not in ('usd', 'tokens') or not _check_units.estimate ?| v_units)
  order by o.key
  limit 1;
  if not found then
    return true;
  end if;
  raise exception 'estimate is in %, and run % is limited in %',
      quote_literal(left(v_unknown, 200)), run_id, (
        select string_agg(distinct u.unit, ', ' order by u.unit)
        from unnest(v_units) as u(unit)
      )
    using errcode = '22023',
          hint = 'Give the estimate in a unit of the budgets and allowances of the run, or none.';
end;
$$;

comment on function tide._check_units is
  'True, or 22023: an estimate in a unit in which nothing limits the run reserves nothing.';
