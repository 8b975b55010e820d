-- tide: no transaction
-- Which gates are to be escalated next. Blocks neither readers nor writers.
create index concurrently if not exists gates_escalating_idx on tide.gates (escalate_at)
where status = 'pending' and escalate_at is not null and escalated_at is null;
