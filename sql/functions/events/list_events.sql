create or replace function tide.list_events(
  run_id uuid,
  after integer default 0,
  max_events integer default 1000
)
returns setof tide.events
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tide._valid_integer(
    'max_events', list_events.max_events, 1, 10000
  );
begin
  perform tide._require_run(list_events.run_id);
  return query
  select e.*
  from tide.event_log as e
  where e.run_id = list_events.run_id
    and e.seq > coalesce(list_events.after, 0)
  order by e.seq
  limit v_limit;
  if not found then
    perform tide._find_run(list_events.run_id);
  end if;
end;
$$;

comment on function tide.list_events is
  'Events of a run with seq greater than after, oldest first; unknown run: TD010.';
