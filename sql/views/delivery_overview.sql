create or replace view tide.delivery_overview
with (security_barrier = true) as
select
  d.delivery_id,
  d.run_id,
  d.type,
  d.gate_id,
  d.endpoint,
  d.status,
  d.attempts,
  d.max_attempts,
  d.http_status,
  d.due_at,
  d.created_at,
  d.finished_at
from tide.deliveries as d;

comment on view tide.delivery_overview is
  'The outbox without body, response, error, token and path of the URL.';
