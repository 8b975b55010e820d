create or replace function tide._ancestors(run tide.runs)
returns table (run_id uuid)
language plpgsql
stable
as $$
declare
  v_parent_id uuid := run.parent_id;
begin
  for v_level in 1..20 loop
    exit when v_parent_id is null;
    run_id := v_parent_id;
    return next;
    select r.parent_id
    into v_parent_id
    from tide.runs as r
    where r.run_id = _ancestors.run_id;
    exit when not found;
  end loop;
end;
$$;

comment on function tide._ancestors is 'The parent of a run, its parent and so on, at most 20.';
