create or replace function tide._sweeps_rows(sweep text)
returns boolean
language plpgsql
immutable
parallel safe
as $$
begin
  return sweep in ('expired_leases', 'overdue', 'schedules', 'dispatches', 'stalled_runs');
end;
$$;

comment on function tide._sweeps_rows is
  'Whether a sweep handles its rows one by one when their batch fails.';
