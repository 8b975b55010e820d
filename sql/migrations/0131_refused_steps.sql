-- What lost_leases remembers of refused reports. Comments only.
comment on column tide.lost_leases.stopped_at is 'When this worker was last told to stop.';
comment on column tide.lost_leases.refused_error is
  'sha256 of the error in its last report of a step that was refused: for minutes after it a failure '
  'with the same error is its own.';
