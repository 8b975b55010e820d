create or replace function tide.recover(run_id uuid, reason text default 'manual')
returns tide.deliveries
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_reason constant text := tide._valid_text('reason', recover.reason, 256);
  v_run tide.runs;
  v_delivery tide.deliveries;
begin
  perform tide._require_read_committed('recover');
  perform tide._require_run(recover.run_id, 'enqueue');
  v_run := tide._lock_run(recover.run_id, ended_too => true);
  if v_run.recovery_url is null then
    raise exception 'run % has no recovery_url', v_run.run_id
      using errcode = 'TD030',
            hint = 'Only an application that named one can be asked to resume its run.';
  elsif v_run.status in ('completed', 'cancelled') then
    -- Nobody's lease: _hold says what became of the run.
    perform tide._hold(v_run.run_id, null);
  elsif v_run.status = 'failed' then
    v_run := tide._retry(v_run, v_reason, reset_attempts => false, run_at => tide._now());
  end if;
  v_delivery.delivery_id := tide._post(
    v_run, 'run.resume', v_run.recovery_url, null, v_reason, expires_in => interval '1 hour'
  );
  update tide.runs_active as r
  set
    -- Not asked again by upkeep at once.
    recover_at = case
      when r.recover_at is not null then greatest(r.recover_at, tide._now() + interval '1 minute')
    end,
    last_seq = r.last_seq + 1
  where r.run_id = v_run.run_id
  returning r.* into v_run;
  perform tide._emit(
    array[v_run.run_id],
    array[v_run.last_seq],
    'recovery.started',
    array[
      jsonb_build_object(
        'reason', v_reason,
        'delivery_id', v_delivery.delivery_id,
        'recoveries', v_run.recoveries
      )
    ]
  );
  v_delivery := (
    select d
    from tide.deliveries as d
    where d.run_id = v_run.run_id
      and d.delivery_id = v_delivery.delivery_id
  );
  return v_delivery;
end;
$$;

comment on function tide.recover is
  'Ask the application of a run to resume it, by its recovery_url: a failed run goes on from its '
  'checkpoints. Returns the webhook to be sent; without a recovery_url: TD030, ended otherwise: TD001 '
  'or TD003.';
