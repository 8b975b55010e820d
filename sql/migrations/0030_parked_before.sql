-- tide: after the functions
-- Runs that were parked before. Locks their rows for a moment.
update tide.runs_active set run_at = null where run_at = 'infinity';
