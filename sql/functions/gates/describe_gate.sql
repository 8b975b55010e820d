create or replace function tide.describe_gate(gate_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_gate constant tide.gates := tide._require_gate(describe_gate.gate_id);
  v_run constant tide.runs := tide._find_run(v_gate.run_id);
begin
  return to_jsonb(v_gate) - 'token_hash' || jsonb_build_object(
    'run_status', v_run.status,
    'requested_by', v_run.requested_by,
    'votes', (
      select coalesce(
        jsonb_agg(
          to_jsonb(v) - '{run_id,gate_id,login}'::text[]
          order by v.created_at, v.actor
        ),
        '[]'
      )
      from tide.gate_votes as v
      where v.run_id = v_gate.run_id
        and v.gate_id = v_gate.gate_id
    ),
    'events', (
      select coalesce(
        jsonb_agg(
          e.payload - '{gate_id,name}'::text[]
            || jsonb_build_object('type', e.type, 'created_at', e.created_at)
          order by e.seq
        ),
        '[]'
      )
      from tide.events as e
      where e.run_id = v_gate.run_id
        and e.type like 'gate.%'
        and e.payload ->> 'gate_id' = v_gate.gate_id::text
    )
  );
end;
$$;

comment on function tide.describe_gate is
  'Everything about a gate but its token, as jsonb: question, rules, who requested its run, votes, '
  'and its events with comments, views and reminders; unknown: TD010.';
