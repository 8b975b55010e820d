-- What a step under way says is said of its provider.
create or replace function tide._blamed_lanes(run tide.runs)
returns text[]
language plpgsql
stable
as $$
declare
  v_lanes constant text[] := array(
    select distinct o.lane
    from tide.run_lanes as o
    where o.run_id = run.run_id
      and o.step <> ''
      and o.held
    order by o.lane
  );
begin
  return case
    when v_lanes = '{}' and run.lane is not null then array[run.lane]
    else v_lanes
  end;
end;
$$;

comment on function tide._blamed_lanes is
  'The lanes that are throttled when a run is refused: those of its steps under way, or else its first one.';
