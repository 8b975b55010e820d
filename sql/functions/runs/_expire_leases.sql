-- Without a further delay and at its old place in the queue: the lease that ran out was the delay.
create or replace function tide._expire_leases(run_ids uuid[])
returns integer
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_error constant jsonb := jsonb_build_object(
    'message', 'the lease expired: the worker is gone or was cut off'
  );
begin
  for v_run in
    select r.*
    from tide.runs_active as r
    where r.run_id = any (_expire_leases.run_ids)
  loop
    perform tide._note_lost(v_run);
    if v_run.attempt < v_run.max_attempts then
      perform tide._requeue(
        v_run,
        ended_by => null,
        run_at => v_run.run_at,
        counted => true,
        event => 'run.requeued',
        payload => jsonb_build_object(
          'reason', 'lease_expired',
          'attempt', v_run.attempt,
          'max_attempts', v_run.max_attempts,
          'run_at', v_run.run_at,
          'worker', v_run.worker
        ),
        error => v_error
      );
    else
      -- Nobody reported this end, so no late report may pass for its repetition.
      update tide.runs_active as r
      set lease_id = gen_random_uuid()
      where r.run_id = v_run.run_id;
      perform tide._finish(
        array[v_run.run_id],
        'failed',
        error => v_error,
        failure_class => 'max_retries'
      );
    end if;
  end loop;
  return cardinality(run_ids);
end;
$$;

comment on function tide._expire_leases is
  'Take running runs, locked by the caller, from workers whose lease ran out: next attempt or failed.';
