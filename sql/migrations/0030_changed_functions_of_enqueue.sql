-- tide: with the functions
-- Functions whose arguments or answers change, or that are gone. Takes no lock on a table.
drop function if exists tide._parse_run;
drop function if exists tide._parse_runs;
drop function if exists tide._enqueued_payload;
