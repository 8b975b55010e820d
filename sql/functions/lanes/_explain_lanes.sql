create or replace function tide._explain_lanes(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
declare
  v_run tide.runs;
  v_reasons jsonb := '[]'::jsonb;
begin
  for v_run in
    select n.*
    from tide._in_lanes(_explain_lanes.run) as n
  loop
    v_reasons := v_reasons || tide._explain_lane(v_run);
  end loop;
  return v_reasons;
end;
$$;

comment on function tide._explain_lanes is
  'The reasons of _explain_lane for each lane of a run, in the order of their names.';
