-- Where upkeep goes on among many queue names. A short lock: columns without a rewrite.
alter table tide.ticks
add column counted_queue text not null default '',
add column counting_until timestamptz,
add column retained_queue text not null default '';
comment on column tide.ticks.counted_queue is
  'Of the minutes being counted, those of queues up to this one are.';
comment on column tide.ticks.counting_until is
  'Where the minutes being counted end; null = a batch begins.';
comment on column tide.ticks.retained_queue is
  'Retention looked at queues up to this one in its last round.';
