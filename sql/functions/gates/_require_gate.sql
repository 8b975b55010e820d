create or replace function tide._require_gate(gate_id uuid)
returns tide.gates
language plpgsql
stable
as $$
declare
  v_gate tide.gates;
  v_queue text;
begin
  v_gate := (
    select g
    from tide.gates as g
    where g.gate_id = _require_gate.gate_id
  );
  if v_gate.gate_id is not null then
    select r.queue
    into v_queue
    from tide.runs as r
    where r.run_id = v_gate.run_id;
    if v_queue is null or tide._may_use(v_queue) then
      return v_gate;
    end if;
  elsif tide._closed_queues() = '{}' then
    return tide._find_gate(_require_gate.gate_id);
  end if;
  raise exception 'gate % does not exist, or login % may not use its queue',
      coalesce(_require_gate.gate_id::text, 'null'), session_user
    using errcode = '42501',
          hint = 'Check the id; for a restricted queue an operator calls tide.grant_queue.';
end;
$$;

comment on function tide._require_gate is
  'The gate with this id, or 42501 as of _require_run; unknown: TD010.';
