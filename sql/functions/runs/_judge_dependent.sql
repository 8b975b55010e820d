-- A run that must not run any more is ended by upkeep, not beside the end of another: it may have runs
-- after it, and these again.
create or replace function tide._judge_dependent(run tide.runs, may_end boolean default false)
returns void
language plpgsql
volatile
as $$
declare
  v_all constant boolean := run.waiting_for = 'all';
  v_failure text;
  v_run_at timestamptz;
  v_open integer;
  v_good integer;
  v_bad uuid;
  v_note text;
begin
  select
    min(p.after_failure),
    min(p.run_at),
    count(*) filter (where p.ended_as is null),
    count(*) filter (
      where p.ended_as = 'completed'
        or p.ended_as is not null and p.after_failure = 'run'
    ),
    (array_agg(p.after_id order by p.after_id) filter (
      where p.ended_as <> 'completed'
        and p.after_failure <> 'run'
    ))[1]
  into
    v_failure,
    v_run_at,
    v_open,
    v_good,
    v_bad
  from tide.predecessors as p
  where p.run_id = run.run_id;

  if v_all and v_open = 0 and v_bad is null or not v_all and v_good > 0 then
    perform tide._resume(
      run, jsonb_build_object('waited_on', 'after', 'mode', run.waiting_for), v_run_at
    );
  elsif v_bad is not null and (v_all or v_open = 0) then
    if not _judge_dependent.may_end then
      update tide.predecessors as p
      set noticed = false
      where p.run_id = run.run_id
        and p.after_id = v_bad;
      perform tide._wake_workers(run.queue, 1);
      return;
    end if;
    v_note := format('run %s, which it comes after, did not complete', v_bad);
    if v_failure = 'fail' then
      perform tide._finish(
        array[run.run_id],
        'failed',
        error => jsonb_build_object('type', 'PredecessorFailed', 'message', v_note),
        failure_class => 'predecessor'
      );
    else
      perform tide._finish(array[run.run_id], 'cancelled', reason => v_note, actor => 'tide');
    end if;
  end if;
end;
$$;

comment on function tide._judge_dependent is
  'Make a parked run, locked by the caller, ready if enough of the runs before it have ended; if one did '
  'not complete, end it as it was said at the enqueue, or leave that to upkeep.';
