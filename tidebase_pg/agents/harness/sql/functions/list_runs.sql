create or replace function tide_harness.list_runs(
  conversation_id text default null,
  parent_run_id text default null
)
returns setof text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.record::text
  from tide_harness.runs as r
  where r.record is not null
    and (list_runs.conversation_id is null or r.conversation_id = list_runs.conversation_id)
    and (list_runs.parent_run_id is null or r.parent_run_id = list_runs.parent_run_id)
  order by r.run_no
$$;

comment on function tide_harness.list_runs is
  'Registered runs, of one conversation and of one parent if given.';
