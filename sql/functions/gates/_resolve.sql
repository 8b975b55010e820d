-- The run row is locked before the gate is read again: of any number of simultaneous callers, and of
-- time-out and cancel, one finds it pending.
create or replace function tide._resolve(
  gate tide.gates,
  decision text,
  actor text,
  payload jsonb,
  comment text,
  key tide.api_keys,
  for_others boolean
)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_decision constant text := tide._valid_decision('decision', _resolve.decision);
  v_actor constant text := tide._valid_note('actor', _resolve.actor);
  v_comment constant text := tide._valid_note('comment', _resolve.comment);
  v_payload constant jsonb := coalesce(tide._valid_payload('payload', _resolve.payload), '{}');
  v_run tide.runs;
  v_gate tide.gates;
begin
  v_run := (
    select r::tide.runs
    from tide.runs_active as r
    where r.run_id = gate.run_id
    for no key update
  );
  v_gate := tide._find_gate(gate.gate_id);
  if v_gate.status = 'pending' then
    perform tide._require_decider(v_run, v_gate, v_actor, key, for_others);
    if v_decision = 'approved' then
      perform tide._valid_answer('payload', v_payload, v_gate.answer_schema);
    end if;
    if tide._vote(
      v_gate, v_decision, v_actor, v_payload, v_comment, tide._acting(key), for_others
    ) then
      v_gate := tide._decide(v_run, v_gate, v_decision, v_actor, v_payload, v_comment);
    end if;
  elsif v_actor is null
    or (v_gate.status, v_gate.actor, v_gate.payload)
      is distinct from (v_decision, v_actor, v_payload)
  then
    raise exception 'gate % is already decided: %', v_gate.gate_id, v_gate.status
      using errcode = 'TD022',
            detail = format(
              'By %s at %s.', coalesce(v_gate.actor, 'nobody named'), v_gate.resolved_at
            ),
            hint = 'The first decision stands.';
  end if;
  v_gate.token_hash := null;
  return v_gate;
end;
$$;

comment on function tide._resolve is
  'Decide a gate exactly once, or vote where it takes several; the same actor with the same decision '
  'and payload is answered again.';
