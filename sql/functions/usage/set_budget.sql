create or replace function tide.set_budget(run_id uuid, limits jsonb)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  -- {} and not null: a run without a budget would take that of its queue at the next claim.
  v_limits constant jsonb := coalesce(
    tide._valid_budget(nullif(set_budget.limits, 'null')), '{}'
  );
  v_budget jsonb;
  v_run tide.runs;
  v_family uuid[];
begin
  perform tide._require_read_committed('set_budget');
  perform tide._require_run(set_budget.run_id);
  v_run := tide._lock_run(set_budget.run_id, ended_too => true);
  -- Who raises a limit takes no run out of its allowances unless he says so.
  v_budget := case
    when v_limits ? 'allowances' or not coalesce(v_run.budget ? 'allowances', false) then v_limits
    else v_limits || jsonb_build_object('allowances', v_run.budget -> 'allowances')
  end;
  if v_run.finished_at is null then
    update tide.runs_active as r
    set budget = v_budget
    where r.run_id = v_run.run_id;
  else
    update tide.runs_finished as r
    set budget = v_budget
    where r.run_id = v_run.run_id;
  end if;
  -- Lock, then count and judge: who spends or parks just now does so by the limits of before.
  v_family := tide._lock_family(v_run.run_id);
  if cardinality(tide._limits(array[row(v_run.run_id, v_run.budget)::tide.run_budget])) = 0 then
    -- What was spent while there was no limit was not counted.
    delete from tide.spending as s
    where s.run_id = v_run.run_id;
  end if;
  perform tide._count_spending(v_run.run_id);
  perform tide._wake_waiting(v_run.run_id);
  perform tide._wake_budget(v_family);
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.set_budget is
  'Set the limits of a run, {"max_cost_usd", "max_tokens", "max_steps"}, null = none. It and its '
  'descendants, who may outlive it, go on if they were parked on a budget that now suffices.';
