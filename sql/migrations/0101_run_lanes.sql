-- tide: with the functions
-- The lane of a run and its places there; types of functions, and functions with new arguments. A short
-- lock: columns without a rewrite.
alter table tide.runs
add column lane text,
add column lane_key text,
add column lane_slot integer,
add column lane_key_slot integer;
comment on column tide.runs.lane is 'The lane whose limits hold for the run; null = none.';
comment on column tide.runs.lane_key is
  'Whom the run counts for within its lane, such as a customer; null = only in total.';
comment on column tide.runs.lane_slot is 'The place held in the lane as a whole.';
comment on column tide.runs.lane_key_slot is 'The place held in the line of its key.';

alter type tide.new_run
add attribute lane text,
add attribute lane_key text;
alter type tide.reservation
add attribute lane_slots integer[],
add attribute lane_key_slots integer[];
alter type tide.ended
add attribute lane text,
add attribute lane_key text,
add attribute lane_slot integer,
add attribute lane_key_slot integer;
drop function if exists tide.enqueue;
