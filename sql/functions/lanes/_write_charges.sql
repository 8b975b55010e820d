create or replace function tide._write_charges(charges tide.lane_charges[], holders uuid[])
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.lane_charges (lane, lane_key, purse, charged_at, run_id, units, open)
  select
    c.lane,
    c.lane_key,
    c.purse,
    n.charged_at,
    c.run_id,
    c.units,
    true
  from unnest(_write_charges.charges) as c
  cross join (
    select tide._now() as charged_at
    offset 0
  ) as n
  where c.run_id = any (_write_charges.holders);
end;
$$;

comment on function tide._write_charges is 'Write down what was charged for some runs or holds.';
