create or replace function tide._run_sweep(sweep text, keys text[], batch integer)
returns integer
language plpgsql
volatile
as $$
begin
  if cardinality(keys) = 0 then
    return 0;
  end if;
  case sweep
    when 'expired_leases' then
      return tide._expire_leases(keys::uuid[]);
    when 'overdue' then
      perform tide._finish(keys::uuid[], 'cancelled', reason => 'deadline', actor => 'tide');
      return cardinality(keys);
    when 'identity' then
      perform tide._check_identity();
      return 0;
    when 'schedules' then
      return tide._fire_schedules(keys);
    when 'dispatches' then
      return tide._end_dispatches(keys::uuid[]);
    when 'push' then
      return tide._push_runs(batch);
    when 'stalled_runs' then
      return tide._recover_runs(keys::uuid[]);
    when 'deliveries' then
      return tide._settle_deliveries(batch);
    when 'retention' then
      return tide._retain(batch);
    when 'due' then
      return tide._promote(batch);
    when 'gate_timeouts' then
      return tide._time_out_gates(batch);
    when 'due_waits' then
      return tide._end_due_waits(batch);
    when 'ended_children' then
      return tide._notice_children(batch);
    when 'dependents' then
      return tide._notice_dependents(batch);
    when 'cascades' then
      return tide._follow_cascades(batch);
    when 'lanes' then
      return tide._wake_lines(10 * batch);
    when 'leaked_lanes' then
      return tide._tend_lanes(batch);
    when 'budgets' then
      return tide._wake_budgets(batch);
    when 'stranded_amounts' then
      return tide._release_stranded(batch);
    when 'leaked_slots' then
      return tide._free_leaked_slots(batch);
    when 'settled_clock' then
      return tide._advance_settled_clock();
    when 'claim_floors' then
      return tide._raise_floors(200);
    when 'finished_counts' then
      return tide._count_finished();
    else
      return tide._forget_stale_rows();
  end case;
end;
$$;

comment on function tide._run_sweep is 'Do one batch of a sweep and return how much was handled.';
