create or replace function tide._is_asked_for(run_id uuid)
returns boolean
language plpgsql
volatile
as $$
begin
  return exists (
    select
    from tide.run_edges as e
    join tide.runs as p on p.run_id = e.parent_id
    where e.child_id = _is_asked_for.run_id
      and p.status <> 'completed'
  );
end;
$$;

comment on function tide._is_asked_for is
  'Whether a parent of the run, or a fork of one, may still ask for its outcome.';
