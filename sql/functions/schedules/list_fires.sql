create or replace function tide.list_fires(
  name text,
  before timestamptz default null,
  max_fires integer default 100
)
returns setof tide.schedule_fires
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tide._valid_integer('max_fires', list_fires.max_fires, 1, 10000);
begin
  return query
  select f.*
  from tide.schedule_fires as f
  where f.schedule = list_fires.name
    and not exists (
      select
      from tide.schedules as s
      where s.schedule = f.schedule
        and not tide._may_use(s.queue)
    )
    and f.fire_at < coalesce(list_fires.before, 'infinity')
  order by f.fire_at desc
  limit v_limit;
end;
$$;

comment on function tide.list_fires is
  'The ledger of a schedule, newest first: what was enqueued, passed over or missed.';
