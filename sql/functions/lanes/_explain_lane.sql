create or replace function tide._explain_lane(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
declare
  v_closed constant text[] := tide._closed_queues();
  v_lane tide.lanes;
  v_wait tide.lane_waits;
  v_line text;
  v_most integer;
  v_busy uuid[];
  v_ahead integer;
  v_reasons jsonb := '[]'::jsonb;
begin
  v_lane := (
    select l
    from tide.lanes as l
    where l.lane = run.lane
  );
  v_wait := (
    select w
    from tide.lane_waits as w
    where w.run_id = run.run_id
      and w.lane = run.lane
  );
  if v_lane.throttled_until > tide._now() then
    v_reasons := v_reasons || tide._reason(
      'throttled',
      'its lane is throttled',
      jsonb_build_object(
        'lane', run.lane,
        'until', v_lane.throttled_until,
        'why', v_lane.throttle_reason
      )
    );
  end if;
  v_reasons := v_reasons || tide._explain_breaker(v_lane);
  foreach v_line in array array['', run.lane_key] loop
    v_most := tide._line_most(v_lane, v_line);
    continue when v_line is null or v_most is null;
    v_busy := array(
      select b.run_id
      from (
        select r.run_id
        from tide.runs_active as r
        where r.lane = run.lane
          and (v_line = '' or r.lane_key = v_line)
          and (r.status = 'running' or r.dispatched_until is not null)
        union all
        select o.run_id
        from tide.run_lanes as o
        where o.lane = run.lane
          and (v_line = '' or o.lane_key = v_line)
          and o.held
      ) as b
      order by b.run_id
    );
    continue when cardinality(v_busy) < v_most
      and (
        v_lane.fair
        or v_reasons <> '[]'
        or v_line is distinct from v_wait.lane_key
        or case when v_line = '' then v_lane.units else v_lane.units_per_key end is not null
      );
    v_ahead := cardinality(tide._waits_ahead(_explain_lane.run, v_wait, v_line));
    v_reasons := v_reasons || tide._reason(
      'lane',
      case
        when v_line = '' and v_lane.adaptive_limit is not null
          then 'the limit of its lane, lowered since runs were refused, is used up'
        when v_line = '' then 'the total of its lane is used up'
        else 'what its lane allows its key is used up'
      end,
      jsonb_build_object(
        'lane', run.lane,
        'lane_key', nullif(v_line, ''),
        'most', v_most,
        'running', cardinality(v_busy),
        'held_by', (
          select coalesce(jsonb_agg(h.run_id order by h.run_id), '[]')
          from (
            select r.run_id
            from tide.runs_active as r
            where r.run_id = any (v_busy[:100])
              and r.queue <> all (v_closed)
            order by r.run_id
            limit 20
          ) as h
        ),
        'ahead', v_ahead
      ) || case
        when v_line = '' and v_lane.adaptive_limit is not null
          then jsonb_build_object('total', v_lane.total)
        else '{}'
      end
    );
  end loop;
  if v_lane.fair and run.queue is not null then
    v_reasons := v_reasons || tide._explain_turn(run, v_lane);
  end if;
  return v_reasons || tide._explain_units(_explain_lane.run, v_lane, v_wait);
end;
$$;

comment on function tide._explain_lane is
  'The reasons throttled, with its end, provider, with the next probe, and lane, with the key, its limit, '
  'up to 20 runs that hold it and how many wait before this one, or with the units of a line; an empty '
  'list where there is room.';
