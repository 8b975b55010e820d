-- tide: with the functions
-- Schedules whose runs are in a lane; set_schedule gains arguments. A short lock: columns without a
-- rewrite.
alter table tide.schedules
add column lane text,
add column lane_key text;
comment on column tide.schedules.lane is 'The lane of its runs; null = none.';
comment on column tide.schedules.lane_key is 'Whom its runs count for within their lane.';
drop function if exists tide.set_schedule;
