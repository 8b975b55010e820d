create or replace view tide.gate_overview
with (security_barrier = true) as
select
  g.gate_id,
  g.run_id,
  g.name,
  g.status,
  g.capability,
  g.on_timeout,
  g.created_at,
  g.expires_at,
  g.resolved_at,
  g.actor
from tide.gates as g;

comment on view tide.gate_overview is 'Gates without prompt, data, payload and token.';
