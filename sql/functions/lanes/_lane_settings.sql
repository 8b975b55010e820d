create or replace function tide._lane_settings()
returns table (key text, type text, low text, high text)
language sql
immutable
parallel safe
as $$
values
  ('total', 'integer', '1', '2000'),
  ('per_key', 'integer', '1', '2000')
$$;

comment on function tide._lane_settings is
  'Every setting of a lane: its key and column, its type, the least and the greatest value.';
