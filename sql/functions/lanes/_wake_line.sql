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
  v_run tide.runs;
  v_woken integer := 0;
  v_units constant bigint := case
    when _wake_line.lane_key = '' then _wake_line.lane.units
    else _wake_line.lane.units_per_key
  end;
  v_free bigint;
  v_cost bigint;
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
  loop
    exit when v_woken >= most;
    fetch v_waits into v_run_id;
    exit when not found;
    select least(tide._cost_in(r, _wake_line.lane.lane), v_units)
    into v_cost
    from tide.runs_active as r
    where r.run_id = v_run_id
      and r.waiting_on in ('lane', 'provider')
    for no key update skip locked;
    continue when not found;
    if v_units is not null and v_free is null then
      v_free := v_units - tide._units_used(_wake_line.lane.lane, _wake_line.lane_key);
    end if;
    -- The first that does not fit keeps those behind it waiting until it does.
    exit when v_cost > v_free;
    v_free := v_free - v_cost;
    v_run := tide._leave_line(v_run_id);
    perform
    from tide.queues as q
    where q.queue = v_run.queue
      and q.paused;
    if not found then
      v_woken := v_woken + 1;
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
