-- tide: no transaction
-- Finds the finished forks of a run. Blocks neither readers nor writers.
create index concurrently if not exists runs_finished_forks_idx
on tide.runs_finished (forked_from, run_id)
where forked_from is not null;
