create or replace function tide._find_gate(gate_id uuid)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_gate tide.gates;
begin
  v_gate := (
    select g
    from tide.gates as g
    where g.gate_id = _find_gate.gate_id
  );
  if v_gate.gate_id is null then
    raise exception 'gate % does not exist', coalesce(_find_gate.gate_id::text, 'null')
      using errcode = 'TD010',
            hint = 'Check the id; retention may have removed its run.';
  end if;
  return v_gate;
end;
$$;

comment on function tide._find_gate is 'The gate with this id; unknown: TD010.';
