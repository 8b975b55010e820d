create or replace function tide.release(
  run_id uuid,
  lease_id uuid,
  delay interval default '0',
  throttle text default null,
  used jsonb default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_delay constant interval := tide._valid_interval('delay', release.delay, '0', '365 days');
  v_throttle constant text := tide._valid_note('throttle', release.throttle);
  v_used constant tide.usage[] := tide._parse_used(release.used, null);
  v_run tide.runs := tide._hold(release.run_id, release.lease_id, 'released');
begin
  if v_run.status = 'running' then
    if release.used is not null then
      v_run := tide._use_up(v_run, v_used);
    end if;
    if v_throttle is not null and v_run.lane is not null then
      perform tide._throttle_lane(
        n.lane, tide._now() + v_delay, v_throttle, claimed_at => v_run.started_at
      )
      from unnest(tide._blamed_lanes(v_run)) as n(lane);
    end if;
    perform tide._release(v_run, v_delay, v_throttle);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.release is
  'Hand a leased run back unfinished, as a worker does when it shuts down; the attempt is not counted. '
  'With throttle, why, the whole lane of the run is throttled for as long as delay says, or those of its '
  'steps under way; one without a lane waits alone. used is recorded with it, as in complete.';
