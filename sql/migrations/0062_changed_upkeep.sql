-- tide: with the functions
-- A private function with a new argument, made again in this transaction. No lock on tables.
drop function if exists tide._sweep(text, integer);
