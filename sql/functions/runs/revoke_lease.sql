create or replace function tide.revoke_lease(
  run_id uuid,
  note text default null,
  actor text default null,
  started_at timestamptz default null
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
  v_note constant text := tide._valid_note('note', revoke_lease.note);
  v_actor constant text := tide._valid_note('actor', revoke_lease.actor);
  v_run tide.runs;
begin
  perform tide._require_read_committed('revoke_lease');
  perform tide._require_run(revoke_lease.run_id);
  v_run := tide._lock_run(revoke_lease.run_id);
  if v_run.finished_at is not null then
    raise exception 'run % is finished: %', v_run.run_id, v_run.status
      using errcode = 'TD003',
            detail = format('It ended at %s.', v_run.finished_at),
            hint = 'A failed or cancelled run is put back to work by tide.retry.';
  elsif v_run.status <> 'running' then
    return tide._find_run(v_run.run_id);
  elsif v_run.started_at <> revoke_lease.started_at then
    raise exception 'run % has been leased again, by %',
        v_run.run_id, coalesce(v_run.worker, 'another worker')
      using errcode = 'TD030',
            detail = format('That lease began at %s.', v_run.started_at),
            hint = 'Look whether this worker makes progress before its lease is revoked.';
  end if;
  perform tide._note_lost(v_run);
  -- Without a word of the worker: a late report of it must not pass for its repetition.
  perform tide._requeue(
    v_run,
    ended_by => null,
    run_at => v_run.run_at,
    counted => false,
    event => 'run.requeued',
    payload => jsonb_build_object(
      'reason', 'revoked',
      'attempt', v_run.attempt,
      'max_attempts', v_run.max_attempts,
      'run_at', v_run.run_at,
      'worker', v_run.worker
    ) || tide._said('actor', v_actor) || tide._said('note', v_note)
  );
  perform tide._stop_holder(v_run);
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.revoke_lease is
  'Take a running run from its worker, which is told, and put it back; the attempt is not counted. '
  'With started_at only the lease begun then, another one: TD030. Not leased: as it is; ended: TD003.';
