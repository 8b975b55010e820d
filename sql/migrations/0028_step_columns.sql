-- tide: with the functions
-- Which steps write streams, and the approval that covers a step. A short lock: columns without a
-- rewrite. Functions return rows of this table, so those of before would fail.
alter table tide.steps
add column streamed boolean not null default false,
add column approved_by uuid;
comment on column tide.steps.streamed is
  'Whether the step has written to a stream, so that its chunks are joined when it completes.';
comment on column tide.steps.approved_by is 'The gate whose approval covers the step.';
