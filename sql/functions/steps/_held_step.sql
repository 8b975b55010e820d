create or replace function tide._held_step(run tide.runs, name text)
returns tide.steps
language plpgsql
stable
as $$
declare
  v_step tide.steps;
begin
  v_step := (
    select s
    from tide.steps as s
    where s.run_id = run.run_id
      and s.name = _held_step.name
  );
  if v_step.name is null then
    raise exception 'run % has no step %', run.run_id,
        coalesce(quote_literal(left(_held_step.name, 200)), 'null')
      using errcode = 'TD010',
            hint = 'Begin a step before reporting on it.';
  elsif v_step.lease_id is distinct from run.lease_id then
    raise exception 'step % of run % is % and was not begun in this attempt',
        quote_literal(v_step.name), run.run_id, v_step.status
      using errcode = 'TD030',
            hint = 'Begin the step again before reporting on it.';
  end if;
  return v_step;
end;
$$;

comment on function tide._held_step is
  'A step begun under the lease of the run; not begun at all: TD010, by another attempt: TD030.';
