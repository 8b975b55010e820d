create or replace function tide._charge_units(
  admission tide.admission,
  charges tide.lane_charges[]
)
returns tide.admission
language plpgsql
volatile
as $$
declare
  v_admission tide.admission := admission;
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
  from unnest(_charge_units.charges) as c
  cross join (
    select tide._now() as charged_at
    offset 0
  ) as n
  where c.run_id = any (admission.run_ids);
  v_admission.units := array(
    select
      case
        when tide._is_charged(_charge_units.charges, a.run_id) then coalesce(r.cost, 1)
      end
    from unnest(admission.run_ids) with ordinality as a(run_id, place)
    join tide.runs_active as r on r.run_id = a.run_id
    order by a.place
  );
  return v_admission;
end;
$$;

comment on function tide._charge_units is
  'Write down what admitted runs take of the units of their lanes, and of how many units each is.';
