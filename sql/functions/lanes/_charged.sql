create or replace function tide._charged(lane text, lane_key text, since timestamptz)
returns table (
  purse integer,
  charged_at timestamptz,
  units numeric,
  settled boolean
)
language sql
stable
as $$
select
  c.purse,
  c.charged_at,
  c.units::pg_catalog.numeric,
  not c.open
from pg_catalog.generate_series(1, tide._purse_count(_charged.lane_key)) as n(purse)
join tide.lane_charges as c on c.purse operator(pg_catalog.=) n.purse
where c.lane operator(pg_catalog.=) _charged.lane
  and c.lane_key operator(pg_catalog.=) _charged.lane_key
  and c.charged_at operator(pg_catalog.>) _charged.since
union all
select
  p.purse,
  b.charged_at,
  b.units,
  false
from tide.lane_purses as p
cross join rows from (
  pg_catalog.unnest(p.bin_times), pg_catalog.unnest(p.bin_units)
) as b(charged_at, units)
where p.lane operator(pg_catalog.=) _charged.lane
  and p.lane_key operator(pg_catalog.=) _charged.lane_key
  and b.charged_at operator(pg_catalog.>) _charged.since
$$;

comment on function tide._charged is
  'What counts since a time of what a line of a lane was charged, by purse: charges, settled = they may be '
  'folded, and bins of those that were.';
