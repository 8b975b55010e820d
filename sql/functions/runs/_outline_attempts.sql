create or replace function tide._outline_attempts(run_id uuid)
returns jsonb
language plpgsql
stable
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'seq', e.seq,
          'type', e.type,
          'at', e.created_at,
          'attempt', e.payload -> 'attempt',
          'worker', e.payload -> 'worker',
          'reason', e.payload -> 'reason',
          'waiting_on', e.payload -> 'waiting_on',
          'failure_class', e.payload -> 'failure_class'
        )
        order by e.seq
      ),
      '[]'
    )
    from (
      select l.*
      from tide.event_log as l
      where l.run_id = _outline_attempts.run_id
        and l.type in (
          'run.claimed', 'run.started', 'run.requeued', 'run.parked', 'run.resumed',
          'run.completed', 'run.failed', 'run.cancelled', 'run.retried', 'run.dispatched'
        )
      order by l.seq desc
      limit 400
    ) as e
  );
end;
$$;

comment on function tide._outline_attempts is
  'The events of a run that begin or end a time at work, the newest 400, without what they carry.';
