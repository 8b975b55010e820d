-- tide: with the functions
-- Who enqueued a run. Short lock: a column without a rewrite; runs there are stay without. Functions
-- return rows of this table, so those of before would fail.
alter table tide.runs add column requested_by text;
alter table tide.runs alter column requested_by set default session_user;
comment on column tide.runs.requested_by is
  'The login that made the run; a child has its parent''s. Gates may say that it does not decide.';
