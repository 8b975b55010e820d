create or replace view tide.event_overview
with (security_barrier = true) as
select
  e.run_id,
  e.seq,
  e.type,
  e.created_at
from tide.event_log as e;

comment on view tide.event_overview is 'The event log without payloads.';
