-- tide: no transaction
-- Finds the active forks of a run. Blocks neither readers nor writers.
create index concurrently if not exists runs_active_forks_idx
on tide.runs_active (forked_from, run_id)
where forked_from is not null;
