-- Leases that ended without a report, for callers who carry no lease. New table only.
create table tide.lost_leases (
  run_id uuid not null,
  lease_id uuid not null,
  worker text,
  lease interval not null,
  lost_at timestamptz not null,
  stopped_at timestamptz,
  refused_error bytea,
  refusals integer not null default 0,
  primary key (run_id, lease_id)
);
comment on table tide.lost_leases is
  'Leases taken from workers that had reported nothing: one of these may still be at work. Decides '
  'whether a call without a lease is the holder''s.';
comment on column tide.lost_leases.stopped_at is 'When this worker was told to stop.';
comment on column tide.lost_leases.refused_error is
  'sha256 of the error in its last report that was refused.';
comment on column tide.lost_leases.refusals is
  'Refused reports that were logged; ten at most.';
