create or replace function tide.watch_run(run_id uuid, duration interval default '1 minute')
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_duration constant interval := tide._valid_interval(
    'duration', watch_run.duration, '1 second', '1 hour'
  );
begin
  perform tide._require_read_committed('watch_run');
  perform tide._require_run(watch_run.run_id);
  perform tide._find_run(watch_run.run_id);
  insert into tide.watchers as w (run_id, until)
  values (watch_run.run_id, tide._now() + v_duration)
  on conflict on constraint watchers_pkey do update
  set until = greatest(w.until, excluded.until);
end;
$$;

comment on function tide.watch_run is
  'Have events of a run notified on channel tide_events for a while; the payload is a uuid of the first '
  '16 bytes of the sha256 of its id. Listen first, then watch, then read: nothing is missed.';
