-- tide: no transaction
-- Finds the finished forks of a run. Blocks neither readers nor writers.
create index concurrently if not exists runs_finished_forks_idx
on tide.runs_finished (forked_from, run_id)
where forked_from is not null;
-- Always true: who looks a run up by its id alone cannot be led along all of a workflow.
create index concurrently if not exists runs_finished_of_workflow_idx
on tide.runs_finished (workflow, run_id)
where workflow is not null;
drop index concurrently if exists tide.runs_finished_by_workflow_idx;
