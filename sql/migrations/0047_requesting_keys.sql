-- tide: with the functions
-- Who declared a schedule, and functions that take the key which requests. A short lock: a column
-- without a rewrite; schedules there are stay without.
alter table tide.schedules add column requested_by text;
comment on column tide.schedules.requested_by is
  'The login or key that declared the schedule last, which requests the runs it fires.';
comment on column tide.runs.requested_by is
  'The login that made the run, or key and the name of the key; a child has its parent''s. Gates may '
  'say that it does not decide.';
drop function if exists tide._deciding_key;
drop function if exists tide.enqueue;
drop function if exists tide.enqueue_many;
drop function if exists tide.create_run;
drop function if exists tide.fork_run;
drop function if exists tide.set_schedule;
drop function if exists tide.fire_schedule;
drop function if exists tide._fire;
