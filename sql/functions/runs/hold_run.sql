create or replace function tide.hold_run(
  run_id uuid,
  worker text default null,
  identity text default 'address',
  failing boolean default false,
  error jsonb default null
)
returns uuid
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_worker constant text := tide._valid_worker(hold_run.worker);
  v_identity constant text := tide._valid_choice(
    'identity', hold_run.identity, '{process,key,address}'
  );
  v_error constant jsonb := coalesce(tide._valid_payload('error', hold_run.error), '{}');
  v_run tide.runs;
  v_caller text;
begin
  perform tide._require_read_committed('hold_run');
  perform tide._require_run(hold_run.run_id, 'claim');
  v_run := tide._lock_active(hold_run.run_id);
  v_caller := case
    when v_run.status = 'running' then tide._judge_caller(v_run, v_worker, v_identity)
    else 'stranger'
  end;
  if v_caller = 'stranger' then
    -- Nobody's lease: _hold says what became of the run.
    perform tide._hold(hold_run.run_id, null);
  elsif v_caller = 'unknown' and hold_run.failing and not tide._proves_failure(v_run, v_error) then
    raise exception 'a failure of run % may be that of a worker that lost it', v_run.run_id
      using errcode = 'TD005',
            detail = format('The run is %s, attempt %s.', v_run.status, v_run.attempt),
            hint = 'Report with the lease_id, or wait: the run is taken back when its lease ends.';
  end if;
  return tide._permit(v_run.lease_id);
end;
$$;

comment on function tide.hold_run is
  'For callers that carry no lease: a stand-in for the lease_id of a running run, good until the '
  'transaction ends. identity says what worker names: one process, who holds a key, or an address that '
  'others may share. Others than the holder: TD002; a failure that may be another worker''s: TD005.';
