create or replace function tide._valid_lease(lease interval)
returns interval
language sql
immutable
parallel safe
as $$
select tide._valid_interval('lease', _valid_lease.lease, '100 milliseconds', '24 hours')
$$;

comment on function tide._valid_lease is 'The length of a lease, or 22023.';
