-- The time alone lets the others decide; this tells them of it.
create or replace function tide._escalate_gates(max_gates integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_gate tide.gates;
  v_handled integer := 0;
begin
  for v_gate in
    select g.*
    from tide.gates as g
    where g.status = 'pending'
      and g.escalated_at is null
      and g.escalate_at <= v_now
    order by g.escalate_at
    limit _escalate_gates.max_gates
  loop
    perform
    from tide.runs_active as r
    where r.run_id = v_gate.run_id
    for no key update skip locked;
    continue when not found;
    update tide.gates as g
    set escalated_at = v_now
    where g.run_id = v_gate.run_id
      and g.name = v_gate.name
      and g.resolved_at is null
      and g.escalated_at is null;
    if found then
      perform tide._log(
        v_gate.run_id,
        'gate.escalated',
        jsonb_build_object(
          'gate_id', v_gate.gate_id,
          'name', v_gate.name,
          'escalate_to', v_gate.escalate_to
        ),
        renews => false
      );
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end;
$$;

comment on function tide._escalate_gates is
  'Log, and so tell channels, that others may decide gates too; those whose run is locked wait for '
  'the next tick.';
