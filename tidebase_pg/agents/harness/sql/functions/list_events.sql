create or replace function tide_harness.list_events(run_id text)
returns setof text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select e.record::text
  from tide_harness.runs as r
  join tide_harness.events as e on e.run_no = r.run_no
  where r.run_id = list_events.run_id
  order by e.event_no
$$;

comment on function tide_harness.list_events is 'The events of a run, in the order of their coming.';
