create or replace function tide._queue_settings()
returns table (key text, type text, low text, high text, initial jsonb)
language sql
immutable
parallel safe
as $$
values
  ('paused', 'boolean', null, null, 'false'::pg_catalog.jsonb),
  ('concurrency', 'integer', '1', '2000', null),
  ('rate_limit', 'integer', '1', '10000', null),
  ('rate_period', 'interval', '100 milliseconds', '365 days', '"1 minute"'),
  ('max_attempts', 'integer', '1', '100', null),
  ('backoff_base', 'interval', '0', '365 days', null),
  ('backoff_max', 'interval', '0', '365 days', null),
  ('backoff_jitter', 'number', '0', '1', null),
  ('retention', 'interval', '0', '36500 days', null),
  ('retention_keeps', 'choices', 'gates', 'usage', '[]'),
  ('budget', 'budget', null, null, null),
  ('push_url', 'url', null, null, null),
  ('push_secret', 'name', null, null, null),
  ('gate_channels', 'channels', null, null, null),
  ('operator_urls', 'boolean', null, null, 'false')
$$;

comment on function tide._queue_settings is
  'Every setting of a queue: its key and column, its type, the least and the greatest value, or the '
  'choices there are, and what it is where nothing is set.';
