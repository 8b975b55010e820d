-- Pause of the installation, and where upkeep goes on among many names. A short lock: columns without
-- a rewrite.
alter table tide.ticks
add column paused_at timestamptz,
add column paused_by text,
add column pause_reason text,
add column counted_queue text not null default '',
add column counting_until timestamptz,
add column retained_queue text not null default '',
add column woken_lane text not null default '',
add column woken_lane_key text not null default '';
comment on column tide.ticks.paused_at is
  'Since then nothing is claimed, fired, swept or sent; null = at work.';
comment on column tide.ticks.counted_queue is
  'Of the minutes being counted, those of queues up to this one are.';
comment on column tide.ticks.counting_until is
  'Where the minutes being counted end; null = a batch begins.';
comment on column tide.ticks.retained_queue is
  'Retention looked at queues up to this one in its last round.';
comment on column tide.ticks.woken_lane is
  'Upkeep looked at the lines of lanes up to this one, and its woken_lane_key, in its last round.';
