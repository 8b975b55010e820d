create or replace function tide._limits(run tide.runs)
returns table (run_id uuid, budget jsonb)
language plpgsql
stable
as $$
begin
  return query
  select
    b.run_id,
    b.budget
  from tide._budgets(_limits.run) as b
  where num_nonnulls(
    b.budget ->> 'max_cost_usd', b.budget ->> 'max_tokens', b.budget ->> 'max_steps'
  ) > 0;
end;
$$;

comment on function tide._limits is
  'The budgets with limits a run is charged to: its own and those of its ancestors, nearest first.';
