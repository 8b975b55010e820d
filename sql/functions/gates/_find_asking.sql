-- A decision that a fork copied gives way to another question: it was never asked here.
create or replace function tide._find_asking(
  run_id uuid,
  name text,
  prompt text,
  data jsonb,
  on_change text
)
returns tide.gates
language plpgsql
volatile
as $$
declare
  v_gate tide.gates;
  v_name text := name;
begin
  for v_number in 2..1001 loop
    v_gate := (
      select g
      from tide.gates as g
      where g.run_id = _find_asking.run_id
        and g.name = v_name
    );
    if v_gate.gate_id is null then
      v_gate := null;
      v_gate.name := v_name;
      return v_gate;
    elsif v_gate.prompt = _find_asking.prompt and v_gate.data = _find_asking.data then
      return v_gate;
    elsif v_gate.origin_id is not null then
      delete from tide.gates as g
      where g.run_id = _find_asking.run_id
        and g.name = v_name;
      v_gate := null;
      v_gate.name := v_name;
      return v_gate;
    end if;
    exit when on_change = 'refuse';
    v_name := left(name, 250) || ':' || v_number;
  end loop;
  raise exception 'gate % of run % was opened with another question',
      quote_literal(v_gate.name), _find_asking.run_id
    using errcode = 'TD020',
          detail = format(
            'The hash of its prompt and data is %s, of these %s.',
            encode(tide._question_hash(v_gate.prompt, v_gate.data), 'hex'),
            encode(tide._question_hash(_find_asking.prompt, _find_asking.data), 'hex')
          ),
          hint = 'A decision fits one question. Give another question another name.';
end;
$$;

comment on function tide._find_asking is
  'The gate of this name and question, or one with nothing but the name to open it under. Another '
  'question under the name: TD020, or with on_change = ask the next of name:2, name:3.';
