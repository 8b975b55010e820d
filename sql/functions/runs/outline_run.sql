-- Stable, so that everything below is read from one snapshot.
create or replace function tide.outline_run(
  run_id uuid,
  after_step integer default null,
  max_steps integer default 500,
  max_events integer default 200
)
returns jsonb
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run tide.runs;
  v_after constant integer := tide._valid_integer(
    'after_step', coalesce(outline_run.after_step, 0), 0, 2147483647
  );
  v_steps constant integer := tide._valid_integer('max_steps', outline_run.max_steps, 1, 1000);
  v_events constant integer := tide._valid_integer('max_events', outline_run.max_events, 1, 1000);
begin
  perform tide._require_run(outline_run.run_id);
  v_run := tide._find_run(outline_run.run_id);
  return jsonb_build_object(
    'now', tide._now(),
    'run', tide._outline_runs(array[v_run.run_id]) -> 0 || jsonb_build_object(
      'budget', v_run.budget,
      'input_bytes', pg_column_size(v_run.input),
      'result_bytes', pg_column_size(v_run.result)
    ),
    'steps', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'position', s.position,
            'name', s.name,
            'status', s.status,
            'attempt', s.attempt,
            'replay', s.replay,
            'side_effects', s.side_effects,
            'timeout', s.timeout,
            'started_at', s.started_at,
            'finished_at', s.finished_at,
            'decided_by', s.decided_by
          )
          order by s.started_at, s.name
        ),
        '[]'
      )
      from (
        select c.*
        from tide.steps as c
        where c.run_id = v_run.run_id
        order by
          c.started_at,
          c.name
        offset v_after
        limit v_steps
      ) as s
    ),
    'counts', (
      select jsonb_build_object(
        'steps', count(*),
        'completed', count(*) filter (where c.status = 'completed'),
        'review', count(*) filter (where c.status = 'manual_review'),
        'failed', count(*) filter (where c.status in ('failed', 'failed_retryable'))
      )
      from tide.steps as c
      where c.run_id = v_run.run_id
    ),
    'attempts', tide._outline_attempts(v_run.run_id),
    'lanes', tide._outline_lanes_of(v_run),
    'gates', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'gate_id', g.gate_id,
            'name', g.name,
            'status', g.status,
            'on_timeout', g.on_timeout,
            'created_at', g.created_at,
            'expires_at', g.expires_at,
            'resolved_at', g.resolved_at,
            'actor', g.actor
          )
          order by g.created_at, g.name
        ),
        '[]'
      )
      from (
        select o.*
        from tide.gates as o
        where o.run_id = v_run.run_id
        order by
          o.created_at desc,
          o.name
        limit 200
      ) as g
    ),
    'waits', (
      select coalesce(
        jsonb_agg(to_jsonb(w) - '{run_id,payload}'::text[] order by w.created_at, w.name), '[]'
      )
      from (
        select o.*
        from tide.waits as o
        where o.run_id = v_run.run_id
        order by
          o.created_at desc,
          o.name
        limit 200
      ) as w
    ),
    'children', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'edge', e.edge,
            'run_id', e.child_id,
            'detached', e.detached,
            'awaited', e.awaited,
            'workflow', c.workflow,
            'status', c.status,
            'waiting_on', c.waiting_on,
            'created_at', e.created_at,
            'started_at', c.started_at,
            'finished_at', c.finished_at
          )
          order by e.created_at, e.edge
        ),
        '[]'
      )
      from (
        select o.*
        from tide.run_edges as o
        where o.parent_id = v_run.run_id
        order by
          o.created_at desc,
          o.edge
        limit 200
      ) as e
      left join tide.runs as c on c.run_id = e.child_id
    ),
    'ancestors', tide._outline_runs(
      array(
        select b.run_id
        from tide._ancestors(v_run) as b
      )
    ),
    'original', tide._outline_runs(array[v_run.forked_from]),
    'forks', tide._outline_runs(
      array(
        select r.run_id
        from tide.runs as r
        where r.forked_from = v_run.run_id
        order by r.run_id desc
        limit 100
      )
    ),
    'streams', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'stream', s.stream, 'version', s.version, 'updated_at', s.updated_at
          )
          order by s.stream
        ),
        '[]'
      )
      from (
        select o.*
        from tide.state_streams as o
        where o.run_id = v_run.run_id
        order by o.stream
        limit 200
      ) as s
    ),
    -- From name to name, since a stream may have very many rows.
    'written', (
      with recursive named as (
        select
          (
            select c.stream
            from tide.stream_chunks as c
            where c.run_id = v_run.run_id
            order by c.stream
            limit 1
          ) as stream,
          1 as number
        union all
        select
          (
            select c.stream
            from tide.stream_chunks as c
            where c.run_id = v_run.run_id
              and c.stream > n.stream
            order by c.stream
            limit 1
          ),
          n.number + 1
        from named as n
        where n.stream is not null
          and n.number < 50
      )
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'stream', n.stream,
            'last_position', l.position + l.size - 1,
            'appended_at', l.appended_at
          )
          order by n.stream
        ),
        '[]'
      )
      from named as n
      cross join lateral (
        select c.*
        from tide.stream_chunks as c
        where c.run_id = v_run.run_id
          and c.stream = n.stream
        order by c.position desc
        limit 1
      ) as l
    ),
    'usage', (
      select to_jsonb(u) - 'run_id'
      from tide.usage_by_run as u
      where u.run_id = v_run.run_id
    ),
    'spent', (
      select to_jsonb(s) - 'run_id'
      from tide.spending as s
      where s.run_id = v_run.run_id
    ),
    'deliveries', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'delivery_id', d.delivery_id,
            'type', d.type,
            'endpoint', d.endpoint,
            'status', d.status,
            'attempts', d.attempts,
            'max_attempts', d.max_attempts,
            'http_status', d.http_status,
            'due_at', d.due_at,
            'created_at', d.created_at,
            'finished_at', d.finished_at
          )
          order by d.delivery_id
        ),
        '[]'
      )
      from (
        select l.*
        from tide.deliveries as l
        where l.run_id = v_run.run_id
        order by l.delivery_id desc
        limit 100
      ) as d
    ),
    'events', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('seq', n.seq, 'type', n.type, 'created_at', n.created_at)
          order by n.seq
        ),
        '[]'
      )
      from (
        select
          e.seq,
          e.type,
          e.created_at
        from tide.event_log as e
        where e.run_id = v_run.run_id
        order by e.seq desc
        limit v_events
      ) as n
    )
  );
end;
$$;

comment on function tide.outline_run is
  'Everything about a run but what it carries, as jsonb: run, steps (max_steps of them after so many), '
  'counts, attempts, lanes, gates, waits, children, ancestors, original of a fork, forks, streams of state, '
  'streams written (50 of them), usage, spent, deliveries, events (the newest).';
