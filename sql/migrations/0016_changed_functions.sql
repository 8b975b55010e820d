-- tide: with the functions
-- Functions with new arguments or another answer, each made again in this transaction. No lock on
-- tables.
drop function if exists tide.create_run;
drop function if exists tide.enqueue;
drop function if exists tide.open_gate;
drop function if exists tide._enqueue;
drop function if exists tide._is_set_aside;
drop function if exists tide._log;
drop function if exists tide._tick;
