-- tide: with the functions
-- The end of runs without leases of its own: its arguments are others. No lock on tables.
drop function if exists tide._finish;
