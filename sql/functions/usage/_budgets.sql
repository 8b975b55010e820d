create or replace function tide._budgets(run tide.runs)
returns table (run_id uuid, budget jsonb)
language plpgsql
stable
as $$
declare
  v_parent_id uuid := run.parent_id;
begin
  if run.budget is not null then
    return query select run.run_id, run.budget;
  end if;
  while v_parent_id is not null loop
    select
      r.run_id,
      r.budget,
      r.parent_id
    into run_id, budget, v_parent_id
    from tide.runs as r
    where r.run_id = v_parent_id;
    exit when not found;
    if budget is not null then
      return next;
    end if;
  end loop;
end;
$$;

comment on function tide._budgets is
  'The budgets a run is charged to: its own and those of its ancestors, nearest first.';
