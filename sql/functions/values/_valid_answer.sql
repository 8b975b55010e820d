-- Each part of the answer meets each part of the schema once at most, while the run is locked.
create or replace function tide._valid_answer(argument text, value jsonb, schema jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  c_most constant integer := 100000;
  v_parts integer;
  v_forms integer;
  v_problem text;
begin
  if schema is null then
    return value;
  end if;
  v_parts := (
    select count(*)
    from jsonb_path_query(_valid_answer.value, 'strict $.**')
  );
  v_forms := (
    select count(*)
    from jsonb_path_query(
      _valid_answer.schema, 'strict $.** ? (@.type() == "object" || @.type() == "array")'
    )
  );
  if v_parts::bigint * v_forms > c_most then
    raise exception '% is too large to be checked: its % parts against % of the schema',
        argument, v_parts, v_forms
      using errcode = '22023',
            detail = format('At most %s comparisons are made.', c_most),
            hint = 'Give fewer elements, or a simpler schema; the gate is still open.';
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
