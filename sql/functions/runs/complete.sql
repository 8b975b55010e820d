create or replace function tide.complete(
  run_id uuid,
  lease_id uuid,
  result jsonb default null,
  used jsonb default null
)
returns tide.runs
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_result constant jsonb := tide._valid_payload('result', complete.result);
  v_used constant tide.usage[] := tide._parse_used(complete.used, null);
  v_run constant tide.runs := tide._hold(complete.run_id, complete.lease_id, 'completed');
begin
  if v_run.status = 'running' then
    perform tide._refuse_overdue(v_run);
    if complete.used is not null then
      perform tide._use_up(v_run, v_used);
    end if;
    perform tide._finish(array[v_run.run_id], 'completed', results => array[v_result]);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.complete is
  'Finish a leased run successfully; the same call again gives the same answer. used, as in '
  'complete_step, is recorded with it, once, and settles its units in its lane.';
