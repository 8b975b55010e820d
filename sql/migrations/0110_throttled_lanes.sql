-- tide: with the functions
-- Lanes that give nothing until a time; functions that gain an argument or a column are made again in
-- this transaction. Short locks: columns without a rewrite.
alter table tide.lanes
add column throttled_until timestamptz,
add column throttle_reason text;
comment on column tide.lanes.throttled_until is
  'No run of the lane is claimed before; null or past = it is not throttled.';
comment on column tide.lanes.throttle_reason is 'Why it is throttled, as the caller says.';

alter type tide.outcome add attribute throttle text;

drop function if exists tide.release;
drop function if exists tide._release;
drop function if exists tide.set_lane;
drop function if exists tide.drop_lane;
drop function if exists tide.list_lanes;
