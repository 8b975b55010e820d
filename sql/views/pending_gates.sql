create or replace view tide.pending_gates
with (security_barrier = true) as
select
  g.gate_id,
  g.run_id,
  r.workflow,
  r.queue,
  g.name,
  g.prompt,
  g.data,
  g.capability,
  g.created_at,
  g.expires_at,
  g.on_timeout
from tide.gates as g
join tide.runs_active as r on r.run_id = g.run_id
where g.status = 'pending'
  and not exists (
    select
    from tide.barred_queues as c
    where c.queue = r.queue
  );

comment on view tide.pending_gates is
  'Decisions people are asked for, across runs; without tokens.';
