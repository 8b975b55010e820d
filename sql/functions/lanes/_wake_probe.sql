-- After the run that probed last, so that one that fails by itself keeps no lane open.
create or replace function tide._wake_probe(lane text)
returns void
language plpgsql
volatile
as $$
declare
  v_lane constant tide.lanes := tide._judge_breaker(_wake_probe.lane);
  v_last tide.lane_waits;
  v_run_id uuid;
begin
  if v_lane.opened_at is null or not tide._may_probe(v_lane) then
    return;
  end if;
  v_last := (
    select w
    from tide.lane_waits as w
    where w.run_id = v_lane.probe_id
  );
  select r.run_id
  into v_run_id
  from (
    select
      w.run_id,
      w.lane_key,
      w.priority,
      w.run_at,
      w.lane_key > v_last.lane_key
      or w.lane_key = v_last.lane_key
      and (
        w.priority < v_last.priority
        or w.priority = v_last.priority and (w.run_at, w.run_id) > (v_last.run_at, v_last.run_id)
      ) as later
    from tide.lane_waits as w
    where w.lane = v_lane.lane
      and not exists (
        select
        from tide.runs_active as a
        join tide.queues as q on q.queue = a.queue
        where a.run_id = w.run_id
          and q.paused
      )
    order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
    limit 1000
  ) as w
  join tide.runs_active as r on r.run_id = w.run_id
  order by w.later desc, w.lane_key, w.priority desc, w.run_at, w.run_id
  limit 1
  for no key update of r skip locked;
  if found then
    perform tide._leave_line(array[v_run_id]);
    update tide.lanes as l
    set
      probe_id = v_run_id,
      probed_at = tide._now()
    where l.lane = v_lane.lane;
  end if;
end;
$$;

comment on function tide._wake_probe is
  'Let one of the runs that wait for an open lane be claimed, if it is time and no other one probes.';
