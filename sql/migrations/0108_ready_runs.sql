-- tide: with the functions
-- What tells claims of ready runs has an answer: made again in this transaction. No lock on tables.
drop function if exists tide._make_ready;
