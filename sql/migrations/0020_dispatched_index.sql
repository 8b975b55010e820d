-- tide: no transaction
-- Finds pushed runs that nobody has begun. Blocks neither readers nor writers.
create index concurrently if not exists runs_dispatched_idx
on tide.runs_active (queue, dispatched_until)
where dispatched_until is not null;
