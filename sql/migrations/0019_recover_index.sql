-- tide: no transaction
-- Finds runs that may have stalled. Blocks neither readers nor writers.
create index concurrently if not exists runs_recover_idx on tide.runs_active (recover_at)
where recover_at is not null;
