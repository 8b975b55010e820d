create or replace function tide._proves_failure(run tide.runs, error jsonb)
returns boolean
language plpgsql
stable
as $$
declare
  v_hash constant bytea := sha256(convert_to(_proves_failure.error::text, 'UTF8'));
  v_now constant timestamptz := tide._now();
  v_step_error jsonb;
begin
  -- Clients report the error of a step twice: of the step, then of the run.
  select s.error
  into v_step_error
  from tide.steps as s
  where s.run_id = run.run_id
    and s.lease_id = run.lease_id
    and s.error is not null
  order by s.finished_at desc
  limit 1;
  if v_step_error = _proves_failure.error then
    return true;
  end if;
  -- And a worker that is told to stop while it reports the step sends the error again at once.
  return not exists (
    select
    from tide.lost_leases as l
    where l.run_id = run.run_id
      and (
        (l.refused_error = v_hash and l.stopped_at > v_now - interval '5 minutes')
        or (l.stopped_at is null and l.lost_at > v_now - 2 * l.lease)
      )
  );
end;
$$;

comment on function tide._proves_failure is
  'Whether an error of an unknown caller is that of the holder: a step of the lease failed with it, or '
  'no worker that lost the run can still be at work.';
