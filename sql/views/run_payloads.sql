create or replace view tide.run_payloads
with (security_barrier = true) as
select
  r.run_id,
  r.dedupe_key,
  coalesce(
    r.input,
    (
      select i.input
      from tide.run_inputs as i
      where i.run_id = r.run_id
    )
  ) as input,
  r.metadata,
  r.result,
  r.error
from tide.runs as r
where not exists (
  select
  from tide.barred_queues as c
  where c.queue = r.queue
);

comment on view tide.run_payloads is
  'What runs carry. Granted to no role of tide: grant select on it to whom it concerns.';
