create or replace function tide._lane_settings()
returns table (key text, type text, low text, high text)
language sql
immutable
parallel safe
as $$
values
  ('total', 'integer', '1', '2000'),
  ('adaptive', 'boolean', null, null),
  ('adaptive_min', 'integer', '1', '2000'),
  ('per_key', 'integer', '1', '2000'),
  ('breaker_failures', 'integer', '1', '1000'),
  ('breaker_classes', 'texts', '1', '50'),
  ('breaker_delay', 'interval', '1 second', '1 day'),
  ('breaker_max_delay', 'interval', '1 second', '7 days'),
  ('fair', 'boolean', null, null),
  ('weights', 'weights', null, null),
  ('units', 'whole', '1', '1000000000000'),
  ('units_per_key', 'whole', '1', '1000000000000'),
  ('period', 'interval', '100 milliseconds', '365 days'),
  ('unit', 'name', null, null)
$$;

comment on function tide._lane_settings is
  'Every setting of a lane: its key and column, its type, the least and the greatest value.';
