-- The next claim takes the place together with those of the run, so nobody is woken in vain for a place
-- that a step of another run takes before.
create or replace function tide._park_for_lane(
  run tide.runs,
  hold tide.run_lanes,
  lane_key text,
  waiting_on text
)
returns void
language plpgsql
volatile
as $$
begin
  -- What the attempt holds is given back, the lanes of its steps too: that of this step is made again.
  perform tide._requeue(
    run,
    ended_by => null,
    run_at => null,
    counted => false,
    event => 'run.requeued',
    payload => jsonb_build_object(
      'reason', _park_for_lane.waiting_on,
      'attempt', run.attempt,
      'max_attempts', run.max_attempts,
      'run_at', run.run_at,
      'lane', hold.lane,
      'step', hold.step
    ),
    waiting_on => _park_for_lane.waiting_on,
    waiting_for => hold.lane
  );
  insert into tide.run_lanes (run_id, step, lane, lane_key, cost)
  values (hold.run_id, hold.step, hold.lane, hold.lane_key, hold.cost);
  update tide.runs_active as r
  set lane = coalesce(r.lane, '')
  where r.run_id = run.run_id;
  insert into tide.lane_waits (run_id, lane, lane_key, priority, run_at, run_key)
  values (
    run.run_id,
    hold.lane,
    _park_for_lane.lane_key,
    run.priority,
    run.run_at,
    case when _park_for_lane.lane_key = '' then hold.lane_key end
  );
end;
$$;

comment on function tide._park_for_lane is
  'Park a leased run in a line of the lane of a step, at its place in its queue, until a claim may take it '
  'with a place for the step: waiting_on says what for.';
