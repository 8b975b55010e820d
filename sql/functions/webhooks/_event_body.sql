-- Keys twice, for receivers of the schema and for those who know Tidebase. Gate and payload come last:
-- _delivery_body appends the token to them.
create or replace function tide._event_body(
  type text,
  run_id uuid,
  gate_id uuid,
  delivery_id uuid,
  payload jsonb,
  seq integer,
  attempt integer,
  created_at timestamptz
)
returns text
language plpgsql
stable
as $$
declare
  v_payload text := _event_body.payload::text;
  v_gate json;
begin
  if _event_body.type in ('gate.created', 'gate.resolved') then
    select json_build_object(
      'id', tide._wire_id('gate', g.gate_id),
      'runId', tide._wire_id('run', g.run_id),
      'name', g.name,
      'prompt', g.prompt,
      'data', g.data,
      'status', g.status,
      'decision', nullif(g.status, 'pending'),
      'actor', g.actor,
      'capability', g.capability,
      'resolveUrl', format(
        '/runs/%s/gates/%s/resolve',
        tide._wire_id('run', g.run_id),
        tide._wire_id('gate', g.gate_id)
      )
    )
    into v_gate
    from tide.gates as g
    where g.gate_id = _event_body.gate_id;
    v_payload := format('%s, "gate" : %s}', left(v_payload, -1), v_gate);
  end if;
  return format(
    '%s, "payload" : %s}',
    left(
      json_build_object(
        'type', _event_body.type,
        'run_id', _event_body.run_id,
        'runId', tide._wire_id('run', _event_body.run_id),
        'gate_id', _event_body.gate_id,
        'gateId', tide._wire_id('gate', _event_body.gate_id),
        'delivery_id', _event_body.delivery_id,
        'deliveryId', tide._wire_id('del', _event_body.delivery_id),
        'seq', _event_body.seq,
        'attempt', _event_body.attempt,
        'created_at', _event_body.created_at
      )::text,
      -1
    ),
    v_payload
  );
end;
$$;

comment on function tide._event_body is
  'The JSON text that tells a channel of an event; about a gate with what it asks.';
