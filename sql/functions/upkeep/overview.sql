create or replace function tide.overview()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_most constant bigint := 10001;
begin
  return jsonb_build_object(
    'now', v_now,
    'version', (
      select i.version
      from tide.installs as i
      order by i.installed_at desc
      limit 1
    ),
    'health', (
      select to_jsonb(h)
      from tide.health as h
    ),
    'running', tide._outline_running(v_now),
    'failures', tide._outline_failures(v_now),
    'people', tide._outline_people(),
    'budgets', tide._outline_budgets(),
    'allowances', tide._outline_allowances(),
    'parked', (
      select coalesce(jsonb_object_agg(p.waiting_on, p.runs), '{}')
      from (
        select
          w.waiting_on,
          least(sum(w.runs), v_most) as runs
        from tide._count_parked(
          array(
            select q.queue
            from tide._queue_names() as q(queue)
          ),
          v_most
        ) as w
        group by w.waiting_on
      ) as p
    ),
    'gates', jsonb_build_object(
      'pending', (
        select count(*)
        from (
          select
          from tide.gates as g
          where g.status = 'pending'
          order by g.created_at
          limit v_most
        ) as c
      ),
      'oldest', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object(
              'gate_id', g.gate_id,
              'run_id', g.run_id,
              'name', g.name,
              'workflow', g.workflow,
              'on_timeout', g.on_timeout,
              'created_at', g.created_at,
              'expires_at', g.expires_at
            )
            order by g.created_at, g.gate_id
          ),
          '[]'
        )
        from (
          select
            o.*,
            r.workflow
          from tide.gates as o
          join tide.runs as r on r.run_id = o.run_id
          where o.status = 'pending'
          order by
            o.created_at,
            o.gate_id
          limit 8
        ) as g
      )
    ),
    'throttled', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('lane', l.lane, 'until', l.throttled_until)
          order by l.throttled_until desc, l.lane
        ),
        '[]'
      )
      from (
        select
          t.lane,
          t.throttled_until
        from tide.lanes as t
        where t.throttled_until > v_now
        order by
          t.throttled_until desc,
          t.lane
        limit 20
      ) as l
    ),
    'workers', (
      select jsonb_build_object(
        'alive', count(*) filter (where w.seen_at > v_now - interval '1 minute'),
        'silent', count(*) filter (
          where w.seen_at between v_now - interval '1 hour' and v_now - interval '1 minute'
        )
      )
      from tide.workers as w
    ),
    'served', (
      select coalesce(jsonb_object_agg(s.queue, s.workers), '{}')
      from (
        select
          q.queue,
          count(*) as workers
        from (
          select w.queues
          from tide.workers as w
          where w.seen_at > v_now - interval '1 minute'
          order by w.seen_at desc
          limit 1000
        ) as a
        cross join lateral unnest(a.queues) as q(queue)
        group by q.queue
      ) as s
    )
  );
end;
$$;

comment on function tide.overview is
  'What the first page of a console shows, as jsonb, by bounded looks: health, running and failed runs '
  'by workflow, runs that wait for people, budgets about to end, parked runs by reason, the oldest '
  'decisions, throttled lanes, workers, and served = how many named workers claim each queue.';
