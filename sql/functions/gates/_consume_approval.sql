-- Called in the transaction that begins the step. The decision may have been copied by forks: all
-- copies together cover one step, and the row of the gate that was decided keeps which.
create or replace function tide._consume_approval(
  run tide.runs,
  step text,
  input jsonb,
  gate_id uuid
)
returns void
language plpgsql
volatile
as $$
declare
  v_gate tide.gates;
  v_problem text;
begin
  v_gate := (
    select g
    from tide.gates as g
    where g.gate_id = _consume_approval.gate_id
      and g.run_id = run.run_id
  );
  v_problem := case
    when v_gate.gate_id is null then 'the run has no such gate'
    when v_gate.status <> 'approved' then format('it is %s', v_gate.status)
    when v_gate.data is distinct from coalesce(input, '{}') then 'it approved another input'
  end;
  if v_problem is null then
    update tide.gates as g
    set
      used_by = run.run_id,
      used_step = _consume_approval.step
    where g.gate_id = coalesce(v_gate.origin_id, v_gate.gate_id)
      and (
        g.used_step is null
        or (g.used_by, g.used_step) = (run.run_id, _consume_approval.step)
      );
    if found then
      return;
    end if;
    v_problem := 'it has covered another step';
  end if;
  raise exception 'step % of run % is not covered by gate %: %',
      quote_literal(step), run.run_id, coalesce(_consume_approval.gate_id::text, 'null'), v_problem
    using errcode = 'TD025',
          hint = 'Ask again: an approval covers one step, whose input is the data of the gate.';
end;
$$;

comment on function tide._consume_approval is
  'Use an approval for a step that begins: once, for the very input that was approved; else TD025.';
