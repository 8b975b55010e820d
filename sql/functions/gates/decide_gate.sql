create or replace function tide.decide_gate(
  gate_id uuid,
  decision text,
  actor text,
  payload jsonb default '{}'
)
returns tide.gates
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return tide._resolve(
    tide._find_gate(decide_gate.gate_id),
    decide_gate.decision,
    tide._valid_text('actor', decide_gate.actor, 4096),
    decide_gate.payload
  );
end;
$$;

comment on function tide.decide_gate is
  'Decide a gate as an operator, without its token; already decided: TD022.';
