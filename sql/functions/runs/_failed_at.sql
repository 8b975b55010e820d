create or replace function tide._failed_at(run_id uuid, step text)
returns boolean
language plpgsql
stable
as $$
declare
  v_step constant text := tide._failed_step(_failed_at.run_id);
begin
  return coalesce(_failed_at.step in (v_step, tide._step_family(v_step)), false);
end;
$$;

comment on function tide._failed_at is
  'Whether a run failed at a step, or at a further use of its name, such as llm:2 of llm.';
