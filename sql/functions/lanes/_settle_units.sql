-- Only who has locked the run writes these rows, but for upkeep and claims, which remove what is older
-- than the period: that is passed over, since it does not count. So nobody waits here. What was passed
-- over may still be there at the end of a later attempt, whose charges are newer and come first.
create or replace function tide._settle_units(run_id uuid, used bigint)
returns void
language plpgsql
volatile
as $$
begin
  with held as (
    select
      c.lane,
      c.lane_key,
      c.purse,
      c.charged_at,
      c.charge_id,
      c.units
    from tide.lane_charges as c
    where c.run_id = _settle_units.run_id
      and c.open
    for no key update skip locked
  ), counted as (
    select
      h.lane,
      h.lane_key,
      h.purse,
      h.charged_at,
      h.charge_id,
      least(
        h.units,
        greatest(
          _settle_units.used - coalesce(
            sum(h.units) over (
              partition by h.lane_key
              order by h.charge_id desc
              rows between unbounded preceding and 1 preceding
            ),
            0
          ),
          0
        )
      ) as units
    from held as h
  )
  update tide.lane_charges as c
  set
    open = false,
    units = case when _settle_units.used is null then c.units else n.units end
  from counted as n
  where c.lane = n.lane
    and c.lane_key = n.lane_key
    and c.purse = n.purse
    and c.charged_at = n.charged_at
    and c.charge_id = n.charge_id;
end;
$$;

comment on function tide._settle_units is
  'End what an attempt has charged to the lines of its lane: what it did not use is given back; used null = '
  'it is not known, and all stays charged.';
