-- Volatile, so that a statement that makes a run can read it too: `enqueue(…) cross join lateral`.
create or replace function tide.get_run(run_id uuid)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_run(get_run.run_id);
  return tide._find_run(get_run.run_id);
end;
$$;

comment on function tide.get_run is 'The run, active or finished; unknown: TD010.';
