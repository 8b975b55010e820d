-- tide: no transaction
-- Which gates are to be escalated next. Built without keeping anybody from writing.
create index concurrently if not exists gates_escalating_idx on tide.gates (escalate_at)
where status = 'pending' and escalate_at is not null and escalated_at is null;
