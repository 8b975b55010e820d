create or replace function tide.outline_events(
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
    'max_events', outline_events.max_events, 1, 10000
  );
begin
  perform tide._require_run(outline_events.run_id);
  return query
  select
    e.run_id,
    e.seq,
    e.type,
    e.created_at,
    '{}'::jsonb
  from tide.event_log as e
  where e.run_id = outline_events.run_id
    and e.seq > coalesce(outline_events.after, 0)
  order by e.seq
  limit v_limit;
  if not found then
    perform tide._find_run(outline_events.run_id);
  end if;
end;
$$;

comment on function tide.outline_events is
  'As list_events, with nothing in the payloads: for those who may not see what runs carry.';
