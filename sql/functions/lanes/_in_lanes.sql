create or replace function tide._in_lanes(run tide.runs)
returns setof tide.runs
language plpgsql
stable
as $$
begin
  return query
  select (n.run).*
  from (
    select _in_lanes.run as run
    where _in_lanes.run.lane <> ''
    union all
    select tide._as_in(_in_lanes.run, o)
    from tide.run_lanes as o
    where o.run_id = _in_lanes.run.run_id
  ) as n
  order by (n.run).lane;
end;
$$;

comment on function tide._in_lanes is
  'A run once for each of its lanes and those of its steps, as though it were that of its row, in the order '
  'of their names.';
