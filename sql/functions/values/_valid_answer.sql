create or replace function tide._valid_answer(argument text, value jsonb, schema jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_problem text;
begin
  if schema is null then
    return value;
  end if;
  v_problem := tide._answer_problem(value, schema, argument);
  if v_problem is null then
    return value;
  end if;
  raise exception '%', v_problem
    using errcode = '22023',
          detail = format('The gate asks for %s', left(schema::text, 1000)),
          hint = 'Give an answer that fits; the gate is still open.';
end;
$$;

comment on function tide._valid_answer is
  'The answer, or 22023 naming the place where it does not fit what the gate asks for.';
