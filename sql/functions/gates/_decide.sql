create or replace function tide._decide(
  run tide.runs,
  gate tide.gates,
  decision text,
  actor text,
  payload jsonb,
  comment text default null
)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_gate tide.gates;
begin
  update tide.gates as g
  set
    status = _decide.decision,
    actor = _decide.actor,
    payload = _decide.payload,
    resolved_at = tide._now()
  where g.run_id = gate.run_id
    and g.name = gate.name
    and g.resolved_at is null
  returning g.* into v_gate;
  update tide.runs_active as r
  set open_gates = r.open_gates - 1
  where r.run_id = run.run_id;
  perform tide._forget_tokens(array[run.run_id], v_gate.gate_id);
  perform tide._log(
    run.run_id,
    'gate.resolved',
    jsonb_build_object(
      'gate_id', v_gate.gate_id,
      'name', v_gate.name,
      'decision', v_gate.status,
      'actor', v_gate.actor
    ) || tide._said('comment', _decide.comment),
    renews => false
  );
  if run.waiting_on = 'gate' and run.waiting_for = v_gate.gate_id::text then
    perform tide._resume(
      run,
      jsonb_build_object('waited_on', 'gate', 'gate', v_gate.name, 'decision', v_gate.status)
    );
  end if;
  return v_gate;
end;
$$;

comment on function tide._decide is
  'Decide a pending gate of a locked run and wake the run if it is parked on it.';
