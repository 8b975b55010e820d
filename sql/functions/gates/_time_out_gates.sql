create or replace function tide._time_out_gates(max_gates integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
  v_gate tide.gates;
  v_handled integer := 0;
begin
  for v_gate in
    select g.*
    from tide.gates as g
    where g.status = 'pending'
      and g.expires_at is not null
      and g.expires_at <= v_now
      and not tide._is_set_aside('gate_timeouts', g.run_id::text, v_now)
    order by g.expires_at
    -- Those of runs that somebody holds must not keep others from their turn.
    limit 10 * _time_out_gates.max_gates
  loop
    exit when v_handled >= _time_out_gates.max_gates;
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = v_gate.run_id
      for no key update skip locked
    );
    if v_run.run_id is not null then
      v_gate := tide._find_gate(v_gate.gate_id);
      if v_gate.status = 'pending' then
        v_handled := v_handled + 1;
        -- One gate that cannot be decided must not keep the others waiting.
        begin
          perform tide._decide(v_run, v_gate, v_gate.on_timeout, 'timeout', '{}');
        exception
          when others then
            perform tide._set_aside('gate_timeouts', v_run.run_id::text, sqlerrm, sqlstate);
        end;
      end if;
    end if;
  end loop;
  return v_handled + tide._escalate_gates(max_gates);
end;
$$;

comment on function tide._time_out_gates is
  'Decide gates whose time is over as they said, and escalate others; those whose run is locked wait '
  'for the next tick.';
