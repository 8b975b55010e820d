create or replace function tide._sweeps(every_tick boolean)
returns text[]
language plpgsql
immutable
parallel safe
as $$
begin
  if every_tick then
    return array[
      'expired_leases', 'overdue', 'schedules', 'gate_timeouts', 'due_waits', 'ended_children',
      'dependents', 'cascades', 'dispatches', 'lanes', 'budgets', 'push', 'stalled_runs',
      'deliveries', 'settled_clock', 'claim_floors'
    ];
  end if;
  return array[
    'identity', 'expired_leases', 'overdue', 'schedules', 'due', 'gate_timeouts', 'due_waits',
    'ended_children', 'dependents', 'cascades', 'dispatches', 'lanes', 'budgets', 'push',
    'stalled_runs', 'deliveries', 'leaked_slots', 'leaked_lanes',
    'stranded_amounts', 'settled_clock', 'claim_floors',
    'finished_counts', 'retention', 'stale_rows'
  ];
end;
$$;

comment on function tide._sweeps is
  'The sweeps in their order: those of the small tick in claims, or all for reconcile.';
