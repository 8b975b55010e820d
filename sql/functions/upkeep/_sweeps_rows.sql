create or replace function tide._sweeps_rows(sweep text)
returns boolean
language plpgsql
immutable
parallel safe
as $$
begin
  return sweep in ('expired_leases', 'overdue');
end;
$$;

comment on function tide._sweeps_rows is
  'Whether a sweep handles runs one by one when their batch fails.';
