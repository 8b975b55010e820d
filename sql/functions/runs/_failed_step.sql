create or replace function tide._failed_step(run_id uuid)
returns text
language plpgsql
stable
as $$
begin
  return (
    select s.name
    from tide.steps as s
    where s.run_id = _failed_step.run_id
      and s.status <> 'completed'
    order by
      s.position desc,
      s.name
    limit 1
  );
end;
$$;

comment on function tide._failed_step is
  'The step a run that ended failed at: the last one begun of those that did not complete; null = none.';
