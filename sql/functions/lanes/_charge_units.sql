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
  perform tide._write_charges(_charge_units.charges, admission.run_ids);
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
