-- tide: with the functions
-- The latest start of a run whose key is enqueued again and again: more in a type of functions, and a
-- function with a new argument. No lock on tables.
alter type tide.new_run add attribute debounce interval;
drop function if exists tide.enqueue;
