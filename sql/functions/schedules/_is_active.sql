create or replace function tide._is_active(schedule tide.schedules)
returns boolean
language plpgsql
stable
as $$
begin
  return exists (
    select
    from (
      select f.run_id
      from tide.schedule_fires as f
      where f.schedule = _is_active.schedule.schedule
        and f.run_id is not null
      order by f.fire_at desc
      limit 100
    ) as f
    join tide.runs_active as r on r.run_id = f.run_id
  );
end;
$$;

comment on function tide._is_active is
  'Whether one of the last hundred runs of a schedule can still move.';
