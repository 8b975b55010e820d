create or replace function tide.decide_gate(
  gate_id uuid,
  decision text,
  actor text,
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
  v_key constant tide.api_keys := tide._acting_key(decide_gate.key_hash);
  v_gate tide.gates;
begin
  perform tide._require_read_committed('decide_gate');
  v_gate := tide._require_gate(decide_gate.gate_id);
  return tide._resolve(
    v_gate,
    decide_gate.decision,
    tide._valid_text('actor', coalesce(decide_gate.actor, v_key.name), 4096),
    decide_gate.payload,
    decide_gate.comment,
    v_key,
    case when v_key.name is null then tide._speaks_for_others() else v_key.role = 'operator' end
  );
end;
$$;

comment on function tide.decide_gate is
  'Decide a gate without its token, or vote where it takes several: pending until enough have. '
  'Not for this login, key or actor: 42501; an answer that does not fit: 22023; already decided: TD022. '
  'key_hash, the sha256 of its token, says which key of the HTTP door decides.';
