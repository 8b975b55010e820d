-- tide: with the functions
-- Reports on steps say what the step used; made again in this transaction. No lock on tables.
drop function if exists tide.complete_step;
drop function if exists tide.fail_step;
