create or replace function tide._end_dispatches(run_ids uuid[])
returns integer
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_run_at timestamptz;
begin
  for v_run in
    select r.*
    from tide.runs_active as r
    where r.run_id = any (_end_dispatches.run_ids)
  loop
    if v_run.dispatches >= 20 then
      perform tide._finish(
        array[v_run.run_id],
        'failed',
        error => jsonb_build_object('message', 'the run was pushed 20 times and never begun'),
        failure_class => 'not_begun'
      );
    else
      v_run_at := tide._now() + least(
        interval '5 minutes', interval '5 seconds' * power(2, v_run.dispatches - 1)
      );
      perform tide._requeue(
        v_run,
        ended_by => null,
        run_at => v_run_at,
        counted => true,
        event => 'run.requeued',
        payload => jsonb_build_object(
          'reason', 'not_begun', 'dispatches', v_run.dispatches, 'run_at', v_run_at
        )
      );
    end if;
  end loop;
  return cardinality(run_ids);
end;
$$;

comment on function tide._end_dispatches is
  'Take back pushed runs, locked by the caller, that nobody began in time: pushed again after a '
  'growing pause, and failed after the twentieth time.';
