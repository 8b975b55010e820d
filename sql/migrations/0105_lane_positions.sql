-- Where upkeep goes on among many lines of lanes. A short lock: columns without a rewrite.
alter table tide.ticks
add column woken_lane text not null default '',
add column woken_lane_key text not null default '';
comment on column tide.ticks.woken_lane is
  'Upkeep looked at the lines of lanes up to this one, and its woken_lane_key, in its last round.';
