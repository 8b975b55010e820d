create or replace function tide.await_gate(run_id uuid, lease_id uuid, gate_id uuid)
returns table (parked boolean, status text, payload jsonb, actor text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run constant tide.runs := tide._hold(await_gate.run_id, await_gate.lease_id);
  v_gate tide.gates := tide._find_gate(await_gate.gate_id);
begin
  perform tide._require_read_committed('await_gate');
  if v_gate.run_id <> v_run.run_id then
    raise exception 'gate % belongs to another run than %', v_gate.gate_id, v_run.run_id
      using errcode = 'TD010',
            hint = 'Open a gate of this run.';
  end if;
  if v_gate.status = 'pending' and v_gate.expires_at <= tide._now() then
    v_gate := tide._decide(v_run, v_gate, v_gate.on_timeout, 'timeout', '{}');
  end if;
  if v_gate.status <> 'pending' then
    return query select false, v_gate.status, v_gate.payload, v_gate.actor;
    return;
  end if;
  perform tide._refuse_overdue(v_run);
  perform tide._park(
    v_run, 'gate', v_gate.gate_id::text, jsonb_build_object('gate', v_gate.name)
  );
  return query select true, v_gate.status, null::jsonb, null::text;
end;
$$;

comment on function tide.await_gate is
  'The decision of a gate, or park the run until there is one: parked = true, drop the run.';
