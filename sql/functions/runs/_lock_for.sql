create or replace function tide._lock_for(run_id uuid, lease_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  if lease_id is not null then
    return tide._hold(_lock_for.run_id, _lock_for.lease_id);
  end if;
  perform tide._require_run(_lock_for.run_id);
  v_run := tide._lock_active(_lock_for.run_id);
  -- What is not done under the lease does not renew it.
  v_run.lease_id := null;
  return v_run;
end;
$$;

comment on function tide._lock_for is
  'Lock an active run: for its worker when a lease id is given, else for anybody who may, and without '
  'its lease id.';
