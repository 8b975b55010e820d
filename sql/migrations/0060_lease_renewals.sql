-- Where a lease is renewed while another transaction holds the row of its run. No lock.
create table tide.lease_renewals (
  run_id uuid not null,
  lease_id uuid not null,
  leased_until timestamptz not null
)
with (fillfactor = 50);
-- Not unique: an insert would wait for another one that is not committed. The latest end counts.
create index lease_renewals_run_idx on tide.lease_renewals (run_id);
comment on table tide.lease_renewals is
  'Renewals of leases whose run another transaction held just then. Only workers write here, so a '
  'renewal never waits for a stranger and is never lost to one.';
