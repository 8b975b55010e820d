create or replace function tide._check_units(run tide.runs, estimate jsonb)
returns boolean
language plpgsql
stable
as $$
declare
  v_units text[];
  v_unknown text;
begin
  if estimate is null then
    return true;
  end if;
  v_units := array(
    select u.unit
    from (
      select 'usd' as unit
      where exists (
        select
        from tide._limits(_check_units.run) as l
        where l.budget ->> 'max_cost_usd' is not null
      )
      union
      select 'tokens'
      where exists (
        select
        from tide._limits(_check_units.run) as l
        where l.budget ->> 'max_tokens' is not null
      )
      union
      select a.unit
      from tide._allowances(_check_units.run) as a
    ) as u
    order by u.unit
  );
  if cardinality(v_units) = 0 then
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
      quote_literal(left(v_unknown, 200)), run.run_id, array_to_string(v_units, ', ')
    using errcode = '22023',
          hint = 'Give the estimate in a unit of the budgets and allowances of the run, or none.';
end;
$$;

comment on function tide._check_units is
  'True, or 22023: an estimate in a unit in which nothing limits the run reserves nothing.';
