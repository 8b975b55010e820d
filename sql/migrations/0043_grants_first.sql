-- tide: with the functions
-- Functions with new arguments, made again in this transaction. No lock on tables.
drop function if exists tide._closed_queues;
drop function if exists tide.record_usage;
