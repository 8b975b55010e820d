create or replace function tide.list_prices()
returns setof tide.prices
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select p.*
  from tide.prices as p
  order by
    p.provider,
    p.model;
$$;

comment on function tide.list_prices is 'The own prices of models, by provider and model.';
