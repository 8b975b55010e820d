create or replace function tide_harness.read_run(run_id text)
returns text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.record::text
  from tide_harness.runs as r
  where r.run_id = read_run.run_id
$$;

comment on function tide_harness.read_run is 'What a run was registered with; null where it was not.';
