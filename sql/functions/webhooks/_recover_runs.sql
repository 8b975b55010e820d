create or replace function tide._recover_runs(run_ids uuid[])
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
  v_until timestamptz;
  v_reason text;
  v_delivery_id uuid;
begin
  for v_run in
    select r.*
    from tide.runs_active as r
    where r.run_id = any (_recover_runs.run_ids)
  loop
    v_until := tide._leased_until(
      v_run.run_id, v_run.lease_id, v_run.lease, v_run.leased_until
    );
    if v_run.waiting_on is not null or v_run.status = 'running' and v_until > v_now then
      update tide.runs_active as r
      set recover_at = case when r.status = 'running' then v_until end
      where r.run_id = v_run.run_id;
    elsif v_run.recoveries >= 10 then
      perform tide._finish(
        array[v_run.run_id],
        'failed',
        error => jsonb_build_object(
          'message', 'the run stalled and its application did not resume it when asked 10 times'
        ),
        failure_class => 'not_recovered'
      );
    else
      v_reason := case v_run.status when 'running' then 'lease_expired' else 'ready' end;
      v_delivery_id := tide._post(
        v_run, 'run.resume', v_run.recovery_url, null, v_reason, expires_in => interval '1 hour'
      );
      update tide.runs_active as r
      set
        recoveries = r.recoveries + 1,
        -- A minute, then twice as long each time, up to an hour.
        recover_at = v_now + interval '1 minute' * least(60, power(2, r.recoveries)),
        last_seq = r.last_seq + 1
      where r.run_id = v_run.run_id
      returning r.* into v_run;
      perform tide._emit(
        array[v_run.run_id],
        array[v_run.last_seq],
        'recovery.started',
        array[
          jsonb_build_object(
            'reason', v_reason, 'delivery_id', v_delivery_id, 'recoveries', v_run.recoveries
          )
        ]
      );
    end if;
  end loop;
  return cardinality(run_ids);
end;
$$;

comment on function tide._recover_runs is
  'Ask the applications of stalled plain runs, locked by the caller, to resume them: ten times at '
  'most, then the run has failed.';
