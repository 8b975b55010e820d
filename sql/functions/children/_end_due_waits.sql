create or replace function tide._end_due_waits(max_waits integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_wait tide.waits;
  v_run tide.runs;
  v_ended integer := 0;
begin
  for v_wait in
    select w.*
    from tide.waits as w
    where w.status = 'pending'
      and w.due_at is not null
      and w.due_at <= v_now
      and not tide._is_set_aside('due_waits', w.run_id::text, v_now)
    order by w.due_at
    -- Those of runs that somebody holds must not keep others from their turn.
    limit 10 * _end_due_waits.max_waits
  loop
    exit when v_ended >= _end_due_waits.max_waits;
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = v_wait.run_id
      for no key update skip locked
    );
    if v_run.run_id is not null then
      v_ended := v_ended + 1;
      -- One wait that cannot be ended must not keep the others waiting.
      begin
        v_wait := tide._end_wait(
          v_wait, case when v_wait.kind = 'timer' then 'over' else 'timed_out' end, null
        );
        if v_run.waiting_on = v_wait.kind and v_run.waiting_for = v_wait.name then
          perform tide._resume(
            v_run,
            jsonb_build_object(
              'waited_on', v_wait.kind, 'name', v_wait.name, 'status', v_wait.status
            )
          );
        end if;
      exception
        when others then
          perform tide._set_aside('due_waits', v_run.run_id::text, sqlerrm, sqlstate);
      end;
    elsif not exists (
      select
      from tide.runs_active as r
      where r.run_id = v_wait.run_id
    ) then
      -- The run has ended: nobody waits any more.
      perform tide._end_wait(
        v_wait, case when v_wait.kind = 'timer' then 'over' else 'timed_out' end, null
      );
      v_ended := v_ended + 1;
    end if;
  end loop;
  return v_ended;
end;
$$;

comment on function tide._end_due_waits is
  'End sleeps and time out waits whose time has come, and wake their runs.';
