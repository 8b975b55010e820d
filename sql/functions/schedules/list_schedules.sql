create or replace function tide.list_schedules()
returns setof tide.schedules
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select s.*
  from tide.schedules as s
  where tide._may_use(s.queue)
  order by s.schedule;
end;
$$;

comment on function tide.list_schedules is
  'All schedules by name, with next_fire_at, last_fire_at and last_run_id.';
