create or replace function tide._more_lanes(run_ids uuid[])
returns text[]
language plpgsql
stable
as $$
begin
  return array(
    select o.lane
    from tide.run_lanes as o
    where o.run_id = any (_more_lanes.run_ids)
  );
end;
$$;

comment on function tide._more_lanes is
  'The lanes of runs beside those of their rows, and those of their steps.';
