create or replace function tide.list_child_runs(
  run_id uuid,
  edges text[] default null,
  before uuid default null,
  max_runs integer default 100
)
returns setof tide.runs
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_limit constant integer := tide._valid_integer('max_runs', list_child_runs.max_runs, 1, 1000);
  v_closed text[];
  v_run tide.runs;
begin
  perform tide._require_run(list_child_runs.run_id);
  perform tide._find_run(list_child_runs.run_id);
  v_closed := tide._closed_queues();
  for v_run in
    select r.*
    from tide.run_edges as e
    join tide.runs as r on r.run_id = e.child_id
    where e.parent_id = list_child_runs.run_id
      and (list_child_runs.edges is null or e.edge = any (list_child_runs.edges))
      and (list_child_runs.before is null or e.child_id < list_child_runs.before)
      and (r.queue is null or r.queue <> all (v_closed))
    order by e.child_id desc
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

comment on function tide.list_child_runs is
  'The runs that are children of a run, newest first, all or those of some edges; before = the last '
  'run_id of the page before. Unknown run: TD010.';
