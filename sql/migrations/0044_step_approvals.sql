-- tide: with the functions
-- The approval that covers a step. Short lock: a column without a rewrite.
alter table tide.steps add column approved_by uuid;
comment on column tide.steps.approved_by is 'The gate whose approval covers the step.';
