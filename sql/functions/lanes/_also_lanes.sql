create or replace function tide._also_lanes(run_id uuid)
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select jsonb_agg(
      jsonb_strip_nulls(
        jsonb_build_object('lane', o.lane, 'lane_key', o.lane_key, 'cost', o.cost)
      )
      order by o.lane
    )
    from tide.run_lanes as o
    where o.run_id = _also_lanes.run_id
      and o.step = ''
  );
end;
$$;

comment on function tide._also_lanes is
  'The further lanes of a run as enqueue takes them; null = it has none.';
