create or replace function tide.error_groups(
  filters jsonb default '{}',
  before uuid default null,
  max_groups integer default 50
)
returns jsonb
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_limit constant integer := tide._valid_integer('max_groups', error_groups.max_groups, 1, 200);
  v_filter tide.run_filter := tide._parse_run_filter(
    error_groups.filters,
    array[
      'queue', 'workflow', 'failure_class', 'created_after', 'created_before', 'finished_after',
      'finished_before', 'metadata', 'error', 'step', 'fingerprint'
    ],
    error_groups.before
  );
  v_found record;
begin
  v_filter.status := 'failed';
  select
    m.run_ids,
    m.stopped_at,
    m.looked
  into v_found
  from tide._match_runs(v_filter, 2000) as m;
  return jsonb_build_object(
    'groups', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'fingerprint', g.fingerprint,
            'failure_class', g.failure_class,
            'step', g.step,
            'type', g.type,
            'message', g.message,
            'runs', g.runs,
            'workflows', g.workflows,
            'first_at', g.first_at,
            'last_at', g.last_at,
            'newest_run', g.newest_run
          )
          order by g.runs desc, g.last_at desc, g.fingerprint
        ),
        '[]'
      )
      from (
        select
          f.fingerprint,
          min(f.failure_class) as failure_class,
          min(f.step) as step,
          left(min(f.type), 300) as type,
          min(f.message) as message,
          count(*) as runs,
          (array_agg(distinct f.workflow))[:20] as workflows,
          min(f.finished_at) as first_at,
          max(f.finished_at) as last_at,
          (array_agg(f.run_id order by f.finished_at desc, f.run_id desc))[1] as newest_run
        from (
          select
            r.run_id,
            r.workflow,
            r.failure_class,
            r.finished_at,
            tide._step_family(s.step) as step,
            r.error ->> 'type' as type,
            tide._fold_error(tide._error_message(r.error)) as message,
            tide._fingerprint(r.failure_class, s.step, r.error) as fingerprint
          from tide.runs_finished as r
          cross join lateral tide._failed_step(r.run_id) as s(step)
          where r.run_id = any (v_found.run_ids)
        ) as f
        group by f.fingerprint
        order by
          count(*) desc,
          max(f.finished_at) desc,
          f.fingerprint
        limit v_limit
      ) as g
    ),
    'looked', v_found.looked,
    'next', v_found.stopped_at,
    'looked_to', (
      select r.created_at
      from tide.runs_finished as r
      where r.run_id = v_found.stopped_at
    )
  );
end;
$$;

comment on function tide.error_groups is
  'Failed runs by kind of failure, most first: fingerprint, failure_class, step, type and message with '
  'ids, quotations and numbers folded, runs, first_at, last_at, newest_run. Takes the filters of '
  'search_runs but status and waiting_on, and looks at the newest 2000 failed runs: looked_to says how '
  'far, next where to go on.';
