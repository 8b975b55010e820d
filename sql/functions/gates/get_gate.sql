create or replace function tide.get_gate(gate_id uuid)
returns table (
  run_id uuid,
  name text,
  status text,
  prompt text,
  data jsonb,
  payload jsonb,
  actor text,
  expires_at timestamptz,
  run_status text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_gate constant tide.gates := tide._require_gate(get_gate.gate_id);
begin
  return query
  select
    v_gate.run_id,
    v_gate.name,
    v_gate.status,
    v_gate.prompt,
    v_gate.data,
    v_gate.payload,
    v_gate.actor,
    v_gate.expires_at,
    r.status
  from tide.runs as r
  where r.run_id = v_gate.run_id;
end;
$$;

comment on function tide.get_gate is
  'A gate and the status of its run, without its token; unknown: TD010.';
