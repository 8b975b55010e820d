create or replace function tide.get_run(run_id uuid)
returns tide.runs
language plpgsql
stable
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
