create or replace function tide._lock_active(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run constant tide.runs := tide._lock_run(_lock_active.run_id);
begin
  if v_run.finished_at is null then
    return v_run;
  end if;
  -- Nobody's lease: _hold says what became of the run.
  return tide._hold(_lock_active.run_id, null);
end;
$$;

comment on function tide._lock_active is
  'Lock an active run for a caller who holds no lease; ended: TD001 or TD003, unknown: TD010.';
