create or replace view tide.step_overview
with (security_barrier = true) as
select
  s.run_id,
  s.name,
  s.status,
  s.attempt,
  s.replay,
  s.side_effects,
  s.timeout,
  s.started_at,
  s.finished_at,
  s.decided_by,
  s.position
from tide.steps as s;

comment on view tide.step_overview is 'Checkpoints without output and error.';
