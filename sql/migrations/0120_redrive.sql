-- tide: with the functions
-- Failed runs found by step, time of their end and kind of error, and retried many at a time: more in
-- a type of functions, and functions with another answer or argument. No lock on tables.
alter type tide.run_filter
add attribute step text,
add attribute fingerprint text,
add attribute finished_after timestamptz,
add attribute finished_before timestamptz;
drop function if exists tide._look_at_active;
drop function if exists tide._look_at_finished;
drop function if exists tide._retry;
create type tide.redrive_place as (
  before uuid,
  failed_until timestamptz,
  run_at timestamptz
);
comment on type tide.redrive_place is
  'How far a redrive is: runs below before that failed until then are still to do, the next of them due '
  'at run_at.';
