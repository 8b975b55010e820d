create or replace function tide._outline_lanes_of(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
begin
  if run.lane is null then
    return jsonb_build_array();
  end if;
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'step', l.step,
          'lane', l.lane,
          'lane_key', l.lane_key,
          'cost', l.cost,
          'held', l.held
        )
        order by l.step nulls first, l.place, l.lane
      ),
      '[]'
    )
    from (
      select
        null::text as step,
        run.lane,
        run.lane_key,
        run.cost,
        run.status = 'running' as held,
        0 as place
      where run.lane <> ''
      union all
      select
        nullif(o.step, ''),
        o.lane,
        o.lane_key,
        o.cost,
        o.held,
        1
      from (
        select a.*
        from tide.run_lanes as a
        where a.run_id = run.run_id
        order by
          a.step,
          a.lane
        limit 200
      ) as o
    ) as l
  );
end;
$$;

comment on function tide._outline_lanes_of is
  'The lanes of a run and of its steps, and whether it holds a place in each now.';
