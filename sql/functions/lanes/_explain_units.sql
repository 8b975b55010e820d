create or replace function tide._explain_units(
  run tide.runs,
  lane tide.lanes,
  wait tide.lane_waits
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_line text;
  v_units bigint;
  v_cost bigint;
  v_used bigint;
  v_ahead uuid[];
  v_missing numeric;
  v_reasons jsonb := '[]'::jsonb;
begin
  foreach v_line in array array['', run.lane_key] loop
    v_units := case when v_line = '' then lane.units else lane.units_per_key end;
    continue when v_line is null or v_units is null;
    v_cost := least(coalesce(run.cost, 1), v_units);
    v_used := tide._units_used(run.lane, v_line);
    v_ahead := tide._waits_ahead(_explain_units.run, _explain_units.wait, v_line);
    continue when v_used + v_cost <= v_units and cardinality(v_ahead) = 0;
    select coalesce(sum(least(tide._cost_in(r, run.lane), v_units)), 0) + v_cost - v_units + v_used
    into v_missing
    from tide.runs_active as r
    where r.run_id = any (v_ahead);
    v_reasons := v_reasons || tide._reason(
      'lane',
      case
        when v_line = '' then 'the units of its lane are used up'
        else 'the units its lane allows its key are used up'
      end,
      jsonb_build_object(
        'lane', run.lane,
        'lane_key', nullif(v_line, ''),
        'units', v_units,
        'used', v_used,
        'period', lane.period,
        'cost', coalesce(run.cost, 1),
        'ahead', cardinality(v_ahead),
        'expected_at', tide._units_expected(run.lane, v_line, v_units, lane.period, v_missing)
      )
    );
  end loop;
  return v_reasons;
end;
$$;

comment on function tide._explain_units is
  'The reason lane where the units of a line of its lane, or runs that wait there, keep a run from running: '
  'units allowed and used in a period, what it costs, how many are ahead, when it is expected to fit.';
