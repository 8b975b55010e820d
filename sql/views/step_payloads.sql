create or replace view tide.step_payloads
with (security_barrier = true) as
select
  s.run_id,
  s.name,
  s.output,
  s.error
from tide.steps as s
where not exists (
  select
  from tide.runs as r
  join tide.barred_queues as c on c.queue = r.queue
  where r.run_id = s.run_id
);

comment on view tide.step_payloads is
  'Outputs and errors of steps. Granted to no role of tide: grant select on it to whom it concerns.';
