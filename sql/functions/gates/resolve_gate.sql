create or replace function tide.resolve_gate(
  gate_id uuid,
  token text,
  decision text,
  actor text default null,
  payload jsonb default '{}',
  comment text default null,
  key_hash bytea default null
)
returns tide.gates
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  -- Hashes are compared, so that time tells nothing of the token.
  v_hash constant bytea := sha256(convert_to(coalesce(resolve_gate.token, ''), 'UTF8'));
  v_key constant tide.api_keys := tide._acting_key(resolve_gate.key_hash);
  v_gate tide.gates;
begin
  perform tide._require_read_committed('resolve_gate');
  -- Who has the token needs no grant: it is given to those who are to decide.
  v_gate := (
    select g
    from tide.gates as g
    where g.gate_id = resolve_gate.gate_id
  );
  -- Gates that a fork copied have no token at all.
  if v_hash is distinct from v_gate.token_hash
    and v_hash is distinct from sha256(
      convert_to(tide._gate_token(v_gate.gate_id), 'UTF8')
    )
  then
    v_gate := tide._require_gate(resolve_gate.gate_id);
    raise exception 'the token does not open gate %', v_gate.gate_id
      using errcode = 'TD024',
            hint = 'Use the token that open_gate returned when it made the gate, or that of '
                   'gate_tokens.';
  end if;
  return tide._resolve(
    v_gate,
    resolve_gate.decision,
    coalesce(resolve_gate.actor, v_key.name),
    resolve_gate.payload,
    resolve_gate.comment,
    v_key,
    coalesce(v_key.role = 'operator', false)  -- A token lets nobody speak for others.
  );
end;
$$;

comment on function tide.resolve_gate is
  'Decide a gate with its token, exactly once: approved, rejected or canceled. Wrong token: TD024, '
  'already decided: TD022. key_hash, the sha256 of its token, says which key of the HTTP door decides.';
