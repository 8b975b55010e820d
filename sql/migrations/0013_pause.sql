-- Pause of the installation. A short lock: columns without a rewrite.
alter table tide.ticks
add column paused_at timestamptz,
add column paused_by text,
add column pause_reason text;
comment on column tide.ticks.paused_at is
  'Since then nothing is claimed, fired, swept or sent; null = at work.';
