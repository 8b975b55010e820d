create or replace function tide.decide_gate(
  gate_id uuid,
  decision text,
  actor text,
  payload jsonb default '{}',
  comment text default null
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
  v_gate tide.gates;
begin
  perform tide._require_read_committed('decide_gate');
  v_gate := tide._require_gate(decide_gate.gate_id);
  return tide._resolve(
    v_gate,
    decide_gate.decision,
    tide._valid_text('actor', decide_gate.actor, 4096),
    decide_gate.payload,
    decide_gate.comment
  );
end;
$$;

comment on function tide.decide_gate is
  'Decide a gate without its token, or vote where it takes several: pending until enough have. '
  'Not for this login or actor: 42501; an answer that does not fit: 22023; already decided: TD022.';
