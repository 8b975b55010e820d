create or replace function tide._lane_asks(run_ids uuid[], several boolean)
returns tide.lane_asks[]
language plpgsql
stable
as $$
begin
  return array(
    select (a.place, a.run_id, a.hold_id, a.lane, a.lane_key, a.cost)::tide.lane_asks
    from (
      select
        p.place,
        r.run_id,
        r.run_id as hold_id,
        r.lane,
        r.lane_key,
        r.cost
      from unnest(_lane_asks.run_ids) with ordinality as p(run_id, place)
      join tide.runs_active as r on r.run_id = p.run_id
      where r.lane <> ''
      union all
      select
        array_position(_lane_asks.run_ids, o.run_id),
        o.run_id,
        o.hold_id,
        o.lane,
        o.lane_key,
        o.cost
      from tide.run_lanes as o
      where _lane_asks.several
        and o.run_id = any (_lane_asks.run_ids)
    ) as a
    order by
      a.place,
      a.lane
  );
end;
$$;

comment on function tide._lane_asks is
  'In which lanes picked runs need places, in claim order; several = some of them need more than one.';
