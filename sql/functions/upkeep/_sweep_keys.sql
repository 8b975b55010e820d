create or replace function tide._sweep_keys(sweep text, batch integer)
returns text[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  case sweep
    when 'expired_leases' then
      -- Plain runs have no queue to go back to: they wait for begin_run or their worker.
      return array(
        select r.run_id::text
        from tide.runs_active as r
        where r.status = 'running'
          and r.queue is not null
          and r.leased_until < v_now
          and tide._leased_until(r.run_id, r.lease_id, r.lease, r.leased_until) < v_now
          and not tide._is_set_aside('expired_leases', r.run_id::text, v_now)
        limit _sweep_keys.batch
        for no key update skip locked
      );
    when 'overdue' then
      return array(
        select r.run_id::text
        from tide.runs_active as r
        where r.deadline_at <= v_now
          and not tide._is_set_aside('overdue', r.run_id::text, v_now)
        order by r.deadline_at
        limit _sweep_keys.batch
        for no key update skip locked
      );
    when 'schedules' then
      return array(
        select s.schedule
        from tide.schedules as s
        where s.enabled
          and not s.paused
          and s.next_fire_at <= v_now
          and not tide._is_set_aside('schedules', s.schedule, v_now)
        order by s.next_fire_at
        -- A fire is short, and each is whole: few of them share a transaction.
        limit least(_sweep_keys.batch, 10)
        for no key update skip locked
      );
    when 'dispatches' then
      return array(
        select r.run_id::text
        from tide.runs_active as r
        where r.dispatched_until <= v_now
          and not tide._is_set_aside('dispatches', r.run_id::text, v_now)
        limit _sweep_keys.batch
        for no key update skip locked
      );
    when 'stalled_runs' then
      return array(
        select r.run_id::text
        from tide.runs_active as r
        where r.recover_at <= v_now
          and not tide._is_set_aside('stalled_runs', r.run_id::text, v_now)
        order by r.recover_at
        limit _sweep_keys.batch
        for no key update skip locked
      );
    else
      return null;
  end case;
end;
$$;

comment on function tide._sweep_keys is
  'Lock the next runs or schedules a sweep has to handle and return their ids; null for sweeps '
  'without rows.';
