create or replace function tide._event_types()
returns text[]
language plpgsql
immutable
parallel safe
as $$
begin
  return array[
    'run.created', 'run.enqueued', 'run.claimed', 'run.started', 'run.requeued', 'run.retried',
    'run.parked', 'run.resumed', 'run.completed', 'run.failed', 'run.cancelled',
    'run.child.created', 'run.dispatched', 'step.started', 'step.completed', 'step.failed',
    'step.review', 'state.updated', 'state.saved', 'snapshot.created', 'usage.recorded',
    'gate.created', 'gate.voted', 'gate.viewed', 'gate.commented', 'gate.reminded',
    'gate.escalated', 'gate.resolved', 'recovery.started', 'report.refused', 'delivery.failed'
  ];
end;
$$;

comment on function tide._event_types is 'Every type of event there is.';
