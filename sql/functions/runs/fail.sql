create or replace function tide.fail(
  run_id uuid,
  lease_id uuid,
  error jsonb default '{}',
  retryable boolean default true,
  failure_class text default null,
  retry_after interval default null,
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
  v_error constant jsonb := coalesce(tide._valid_payload('error', fail.error), '{}');
  v_class constant text := tide._valid_failure_class(fail.failure_class);
  v_after constant interval := tide._valid_retry_after(fail.retry_after);
  v_used constant tide.usage[] := tide._parse_used(fail.used, null);
  v_run tide.runs := tide._hold(fail.run_id, fail.lease_id, 'failed');
begin
  if v_run.status = 'running' then
    if fail.used is not null then
      v_run := tide._use_up(v_run, v_used);
    end if;
    perform tide._fail(v_run, v_error, coalesce(fail.retryable, true), v_class, v_after);
  end if;
  return tide._find_run(v_run.run_id);
end;
$$;

comment on function tide.fail is
  'End a leased attempt with an error: another attempt after its backoff while any is left and the '
  'error is retryable, else the run has failed. The same call again gives the same answer. used is '
  'recorded with it, as in complete.';
