create or replace function tide._step_family(step text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return regexp_replace(_step_family.step, ':[0-9]+$', '');
end;
$$;

comment on function tide._step_family is 'The name of a step without the number of a further use.';
