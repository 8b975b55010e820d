-- Settled charges are written by nobody else. A bin counts until its newest charge no longer does, so folding
-- is only stricter, by a sixtieth of the period at most.
create or replace function tide._fold_charges(
  lane text,
  lane_key text,
  purse integer,
  period interval,
  fold boolean
)
returns void
language plpgsql
volatile
as $$
declare
  v_since constant timestamptz := tide._now() - _fold_charges.period;
begin
  with gone as (
    delete from tide.lane_charges as c
    where c.lane = _fold_charges.lane
      and c.lane_key = _fold_charges.lane_key
      and c.purse = _fold_charges.purse
      and (c.charged_at, c.charge_id) in (
        select
          o.charged_at,
          o.charge_id
        from tide.lane_charges as o
        where o.lane = _fold_charges.lane
          and o.lane_key = _fold_charges.lane_key
          and o.purse = _fold_charges.purse
          and (_fold_charges.fold or o.charged_at <= v_since)
          and (not o.open or o.charged_at <= v_since)
        order by o.lane, o.lane_key, o.purse, o.charged_at, o.charge_id
        limit 1000
        for update skip locked
      )
    returning
      c.charged_at,
      c.units
  ),
  bins as (
    select
      max(e.charged_at) as charged_at,
      sum(e.units) as units
    from (
      select
        g.charged_at,
        g.units
      from gone as g
      union all
      select
        b.charged_at,
        b.units
      from tide.lane_purses as p
      cross join unnest(p.bin_times, p.bin_units) as b(charged_at, units)
      where p.lane = _fold_charges.lane
        and p.lane_key = _fold_charges.lane_key
        and p.purse = _fold_charges.purse
    ) as e
    where e.charged_at > v_since
    group by floor(extract(epoch from e.charged_at) * 60 / extract(epoch from _fold_charges.period))
  )
  update tide.lane_purses as p
  set
    bin_times = n.times,
    bin_units = n.units
  from (
    select
      coalesce(array_agg(b.charged_at order by b.charged_at), '{}') as times,
      coalesce(array_agg(b.units order by b.charged_at), '{}') as units
    from bins as b
  ) as n
  where p.lane = _fold_charges.lane
    and p.lane_key = _fold_charges.lane_key
    and p.purse = _fold_charges.purse
    and (p.bin_times, p.bin_units) is distinct from (n.times, n.units);
end;
$$;

comment on function tide._fold_charges is
  'Remove up to a thousand charges from a purse, locked by the caller: those longer ago than a period, and, '
  'if they are to be folded, those that are settled, which its bins keep.';
