create or replace function tide.list_runs(
  status text default null,
  queue text default null,
  workflow text default null,
  metadata jsonb default null,
  before uuid default null,
  max_runs integer default 100
)
returns setof tide.runs
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit constant integer := tide._valid_integer('max_runs', list_runs.max_runs, 1, 1000);
  v_closed constant text[] := tide._closed_queues();
  v_run tide.runs;
begin
  if list_runs.status not in (
    'pending', 'queued', 'running', 'completed', 'failed', 'cancelled'
  ) then
    raise exception 'status is not known: %', quote_literal(left(list_runs.status, 200))
      using errcode = '22023',
            hint = 'Give pending, queued, running, completed, failed or cancelled.';
  end if;
  for v_run in
    select r.*
    from tide.runs as r
    where (r.queue is null or r.queue <> all (v_closed))
      and (list_runs.status is null or r.status = list_runs.status)
      and (list_runs.queue is null or r.queue = list_runs.queue)
      and (list_runs.workflow is null or r.workflow = list_runs.workflow)
      and (list_runs.metadata is null or r.metadata @> list_runs.metadata)
      and (list_runs.before is null or r.run_id < list_runs.before)
    order by r.run_id desc
    limit v_limit
  loop
    v_run.lease_id := null;
    v_run.session_id := null;
    if v_run.input is null then
      v_run := tide._with_input(v_run);
    end if;
    return next v_run;
  end loop;
end;
$$;

comment on function tide.list_runs is
  'Runs, newest first; before = the last run_id of the page before.';
