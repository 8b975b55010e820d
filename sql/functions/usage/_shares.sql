create or replace function tide._shares(amount numeric)
returns table (purse integer, share numeric)
language plpgsql
immutable
as $$
declare
  v_each constant numeric := trunc(amount / 16, greatest(scale(amount), 12));
begin
  return query
  select
    g.purse,
    case when g.purse = 1 then _shares.amount - 15 * v_each else v_each end
  from generate_series(1, 16) as g(purse);
end;
$$;

comment on function tide._shares is
  'What each part of an allowance holds when a window begins; together the amount.';
