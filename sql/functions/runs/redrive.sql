-- A run is retried at most once by those who pass on the place: it is no longer failed then, and when
-- it fails again, it does after the redrive began.
create or replace function tide.redrive(
  filters jsonb,
  per_second numeric default null,
  dry_run boolean default false,
  place jsonb default null,
  max_runs integer default 1000,
  reset_attempts boolean default true,
  actor text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_actor constant text := tide._valid_note('actor', redrive.actor);
  v_limit constant integer := tide._valid_integer('max_runs', redrive.max_runs, 1, 10000);
  v_place constant tide.redrive_place := tide._redrive_place(redrive.place);
  v_closed constant text[] := tide._closed_queues('enqueue');
  v_dry constant boolean := coalesce(redrive.dry_run, false);
  v_filter tide.run_filter := tide._parse_run_filter(
    redrive.filters,
    array[
      'status', 'queue', 'workflow', 'failure_class', 'created_after', 'created_before',
      'finished_after', 'finished_before', 'metadata', 'error', 'step', 'fingerprint'
    ],
    v_place.before
  );
  v_found record;
  v_next uuid;
  v_run_at timestamptz := v_place.run_at;
  v_old tide.runs;
  v_run tide.runs;
  v_done integer := 0;
  v_groups jsonb;
  v_refused uuid[] := array[]::uuid[];
  v_passed integer := 0;
begin
  perform tide._require_read_committed('redrive');
  if not v_dry and redrive.place is null and not exists (
    select
    from jsonb_each(redrive.filters) as f(key, value)
    where f.key <> 'status'
      and f.value not in ('null', '{}')
  ) then
    raise exception 'filters names nothing but a status: %', left(redrive.filters::text, 200)
      using errcode = '22023',
            hint = 'Name a queue, a time or the like, or count first with dry_run and give its '
              'start as place, so that nobody retries everything by a slip.';
  end if;
  v_filter.status := tide._valid_choice(
    'status', coalesce(v_filter.status, 'failed'), '{failed,cancelled}'
  );
  if redrive.per_second not between 0.001 and 100000 then
    raise exception 'per_second is out of range: %', left(redrive.per_second::text, 40)
      using errcode = '22023',
            hint = 'Give a number from 0.001 to 100000; null = all at once.';
  end if;

  select
    array(
      select m.run_id
      from unnest(f.run_ids) with ordinality as m(run_id, place)
      order by m.place
      limit case when not v_dry then v_limit end
    ) as run_ids,
    case
      when not v_dry and cardinality(f.run_ids) > v_limit then f.run_ids[v_limit]
      else f.stopped_at
    end as next,
    f.looked
  into v_found
  from tide._match_runs(
    v_filter, case when v_dry then 10000 else greatest(v_limit, 1000) end
  ) as f;

  if v_dry then
    select
      coalesce(sum(g.runs), 0),
      coalesce(
        jsonb_agg(to_jsonb(g) order by g.runs desc, g.queue, g.failure_class), '[]'
      )
    into
      v_done,
      v_groups
    from (
      select
        r.queue,
        r.failure_class,
        count(*) as runs
      from tide.runs_finished as r
      where r.run_id = any (v_found.run_ids)
        and r.finished_at <= v_place.failed_until
        and (r.queue is null or r.queue <> all (v_closed))
      group by
        r.queue,
        r.failure_class
    ) as g;
  else
    foreach v_next in array v_found.run_ids loop
      v_old := (
        select r::tide.runs
        from tide.runs_finished as r
        where r.run_id = v_next
          and r.status = v_filter.status
          and r.finished_at <= v_place.failed_until
          and (r.queue is null or r.queue <> all (v_closed))
        for update skip locked
      );
      if v_old.run_id is null then
        v_passed := v_passed + 1;
        continue;
      end if;
      v_run := tide._retry(
        v_old, v_actor, coalesce(redrive.reset_attempts, true), v_run_at, among_many => true
      );
      if v_run.run_id is null then
        v_refused := v_refused || v_old.run_id;
        continue;
      end if;
      v_done := v_done + 1;
      v_run_at := v_run_at + coalesce(make_interval(secs => 1 / redrive.per_second), '0');
    end loop;
  end if;
  return jsonb_build_object(
    'runs', v_done,
    'groups', v_groups,
    'refused', cardinality(v_refused),
    'refused_runs', to_jsonb(v_refused[:20]),
    'passed', v_passed,
    'looked', v_found.looked,
    'start', jsonb_build_object(
      'before', v_place.before,
      'failed_until', v_place.failed_until,
      'run_at', v_place.run_at
    ),
    'next', case
      when v_found.next is not null then jsonb_build_object(
        'before', v_found.next,
        'failed_until', v_place.failed_until,
        'run_at', v_run_at
      )
    end
  );
end;
$$;

comment on function tide.redrive is
  'Retry failed runs by the filters of search_runs, newest first, in batches: at most max_runs a call, '
  'per_second of them a second (null = at once), each run once; go on with next as place. dry_run counts '
  'them by queue and class, among 10000 a call, and gives the start to retry exactly these. refused = '
  'their dedupe key is taken.';
