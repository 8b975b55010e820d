create or replace view tide.event_payloads
with (security_barrier = true) as
select
  e.run_id,
  e.seq,
  e.payload
from tide.event_log as e
where not exists (
  select
  from tide.runs as r
  join tide.barred_queues as c on c.queue = r.queue
  where r.run_id = e.run_id
);

comment on view tide.event_payloads is
  'Payloads of events. Granted to no role of tide: grant select on it to whom it concerns.';
