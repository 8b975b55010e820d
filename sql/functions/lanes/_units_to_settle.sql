create or replace function tide._units_to_settle(run tide.runs, ended_by text, parked boolean)
returns bigint
language plpgsql
stable
as $$
declare
  v_used constant bigint := coalesce(run.cost, 1) - run.units_left;
begin
  if run.status <> 'running' then
    return 0;
  elsif ended_by is null and not parked then
    return null;
  elsif v_used > 0 then
    return v_used;
  elsif ended_by = 'released' and not exists (
    select
    from tide.steps as s
    where s.run_id = run.run_id
      and s.started_at >= run.started_at
  ) then
    return 0;
  end if;
  return null;
end;
$$;

comment on function tide._units_to_settle is
  'What a run that goes back to its queue, or is parked, has used of its units: what was recorded; '
  'nothing, when it was not begun, or released before any step; null = it is not known.';
