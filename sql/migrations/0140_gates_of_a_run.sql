-- tide: with the functions
-- Gates are listed with rules and votes, of one run as well: made again in this transaction. No lock
-- on tables.
drop function if exists tide.list_gates;
