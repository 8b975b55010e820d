-- Runs that somebody holds are passed over: who ends or moves one looks for the next itself. Those of
-- paused queues would use up the place of one that can run, so they go on too, and do not count.
create or replace function tide._wake_line(lane tide.lanes, lane_key text, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_waits refcursor;
  v_run_id uuid;
  v_asked uuid[];
  v_run record;
  v_going uuid[];
  v_woken integer := 0;
  v_units constant bigint := case
    when _wake_line.lane_key = '' then _wake_line.lane.units
    else _wake_line.lane.units_per_key
  end;
  v_free bigint;
  v_full boolean := false;
begin
  if lane.throttled_until > tide._now()
    or lane.opened_at is not null
    and not tide._is_answered(_wake_line.lane.lane)
  then
    return 0;
  end if;
  if lane.fair and lane_key <> '' then
    -- Those that have it as a further lane have no turns in it.
    open v_waits for
    select w.run_id
    from tide.lane_waits as w
    where w.lane = _wake_line.lane.lane
      and w.lane_key = _wake_line.lane_key
      and w.lane_key <> ''
      and w.queue is null
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1000;
  else
    open v_waits for
    select w.run_id
    from tide.lane_waits as w
    where w.lane = _wake_line.lane.lane
      and w.lane_key = _wake_line.lane_key
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1000;
  end if;
  -- Of as many as are wanted some may be passed over, so further ones are looked at.
  while v_woken < most and not v_full loop
    v_asked := array[]::uuid[];
    v_going := array[]::uuid[];
    while cardinality(v_asked) < most - v_woken loop
      fetch v_waits into v_run_id;
      exit when not found;
      v_asked := v_asked || v_run_id;
    end loop;
    exit when v_asked = '{}';
    if v_units is not null and v_free is null then
      v_free := v_units - tide._units_used(_wake_line.lane.lane, _wake_line.lane_key);
    end if;
    for v_run in
      select
        r.run_id,
        r.cost,
        r.paused
      from unnest(v_asked) with ordinality as a(run_id, place)
      cross join lateral (
        select
          n.run_id,
          case
            when v_units is not null
              then least(tide._cost_in(n, _wake_line.lane.lane), v_units)
          end as cost,
          -- With exists the planner may read all queues.
          coalesce(
            (
              select q.paused
              from tide.queues as q
              where q.queue = n.queue
            ),
            false
          ) as paused
        from tide.runs_active as n
        where n.run_id = a.run_id
          and n.waiting_on in ('lane', 'provider')
        for no key update skip locked
      ) as r
      order by a.place
    loop
      -- The first that does not fit keeps those behind it waiting until it does.
      v_full := coalesce(v_run.cost > v_free, false);
      exit when v_full;
      v_free := v_free - v_run.cost;
      v_going := v_going || v_run.run_id;
      if not v_run.paused then
        v_woken := v_woken + 1;
      end if;
    end loop;
    if v_going <> '{}' then
      perform tide._leave_line(v_going);
    end if;
  end loop;
  close v_waits;
  if lane.fair and lane_key <> '' then
    return v_woken + tide._bring_up_line(
      _wake_line.lane.lane, _wake_line.lane_key, _wake_line.most - v_woken
    );
  end if;
  return v_woken;
end;
$$;

comment on function tide._wake_line is
  'Let the first runs that wait in a line of a lane, higher priority and earlier run_at first, be '
  'claimed, as far as their units are free, of one that is throttled or open none. A claim that finds no '
  'place for one parks it again.';
