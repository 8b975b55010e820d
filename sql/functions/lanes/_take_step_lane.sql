-- Who waits in a line came first. A run whose other steps are under way is not parked: they would be lost.
create or replace function tide._take_step_lane(
  run tide.runs,
  step text,
  lane text,
  lane_key text,
  cost numeric
)
returns text
language plpgsql
volatile
as $$
declare
  v_lane constant tide.lanes := tide._find_lane(
    tide._valid_lane(run.queue, _take_step_lane.lane, _take_step_lane.lane_key)
  );
  v_cost constant bigint := tide._valid_cost(
    _take_step_lane.lane, _take_step_lane.lane_key, _take_step_lane.cost
  );
  v_hold tide.run_lanes;
  v_asks tide.lane_asks[];
  v_answers tide.lane_answers;
  v_line text;
begin
  if lane is null or tide._is_in_lane(run, lane, lane_key) then
    return null;
  end if;
  perform tide._require_read_committed('begin_step with a lane');
  v_hold := (
    select o
    from tide.run_lanes as o
    where o.run_id = run.run_id
      and o.step = _take_step_lane.step
  );
  if v_hold.held
    and (v_hold.lane, v_hold.lane_key, v_hold.cost)
      is not distinct from (_take_step_lane.lane, _take_step_lane.lane_key, v_cost)
  then
    return null;
  elsif v_hold.run_id is not null then
    perform tide._end_more_lanes(v_hold, null);
  end if;
  insert into tide.run_lanes as o (run_id, step, lane, lane_key, cost)
  values (
    run.run_id,
    _take_step_lane.step,
    _take_step_lane.lane,
    _take_step_lane.lane_key,
    v_cost
  )
  returning o.* into v_hold;
  select w.lane_key
  into v_line
  from tide.lane_waits as w
  where w.lane = _take_step_lane.lane
    and (
      w.lane_key = ''
      or w.lane_key = _take_step_lane.lane_key
      and (v_lane.fair is null or w.queue is null)
    )
  order by w.lane_key
  limit 1;
  if not found then
    v_asks := array[
      (
        1, run.run_id, v_hold.hold_id, v_hold.lane, v_hold.lane_key, v_hold.cost
      )::tide.lane_asks
    ];
    v_answers := tide._ask_lanes(
      v_asks, shut => num_nonnulls(v_lane.throttled_until, v_lane.opened_at) > 0
    );
    if v_answers.lacking is null then
      perform tide._hold_more_lanes(v_asks, v_answers, array[run.run_id]);
      update tide.runs_active as r
      set lane = ''
      where r.run_id = run.run_id
        and r.lane is null;
      return null;
    end if;
    v_line := v_answers.lines[1];
  end if;

  delete from tide.run_lanes as o
  where o.run_id = v_hold.run_id
    and o.step = v_hold.step
    and o.lane = v_hold.lane;
  if exists (
    select
    from tide.steps as s
    where s.run_id = run.run_id
      and s.status = 'running'
      and s.lease_id = run.lease_id
      and s.name <> _take_step_lane.step
  ) then
    return 'wait';
  end if;
  perform tide._park_for_lane(
    run,
    v_hold,
    v_line,
    case
      when v_lane.opened_at is not null and not tide._is_answered(_take_step_lane.lane)
        then 'provider'
      else 'lane'
    end
  );
  return 'lane';
end;
$$;

comment on function tide._take_step_lane is
  'Take a place and units in a lane for a step that begins; null = it has them, or needs none. Without room '
  'lane = the run is parked until there is, or wait = other steps of it are under way, nothing was done.';
