create or replace function tide._valid_lease(lease interval)
returns interval
language plpgsql
immutable
parallel safe
as $$
begin
  return tide._valid_interval('lease', lease, '100 milliseconds', '24 hours');
end;
$$;

comment on function tide._valid_lease is 'The length of a lease, or 22023.';
