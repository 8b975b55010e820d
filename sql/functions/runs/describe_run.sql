-- Stable, so that everything below is read from one snapshot.
create or replace function tide.describe_run(run_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run tide.runs;
begin
  perform tide._require_run(describe_run.run_id);
  v_run := tide._find_run(describe_run.run_id);
  return jsonb_build_object(
    'run', to_jsonb(v_run) - '{lease_id,told_events}'::text[],
    'steps', (
      select coalesce(
        jsonb_agg(
          to_jsonb(s) - '{run_id,lease_id,input_hash}'::text[]
          order by s.started_at, s.name
        ),
        '[]'
      )
      from tide.steps as s
      where s.run_id = v_run.run_id
    ),
    'lanes', (
      select coalesce(
        jsonb_agg(to_jsonb(o) - '{run_id,hold_id}'::text[] order by o.step, o.lane), '[]'
      )
      from tide.run_lanes as o
      where o.run_id = v_run.run_id
    ),
    'gates', (
      select coalesce(
        jsonb_agg(
          to_jsonb(g) - '{run_id,token_hash}'::text[]
          order by g.created_at, g.name
        ),
        '[]'
      )
      from tide.gates as g
      where g.run_id = v_run.run_id
    ),
    'waits', (
      select coalesce(jsonb_agg(to_jsonb(w) - 'run_id' order by w.created_at, w.name), '[]')
      from tide.waits as w
      where w.run_id = v_run.run_id
    ),
    'children', (
      select coalesce(
        jsonb_agg(
          to_jsonb(c) - '{parent_id,noticed}'::text[]
          order by c.created_at, c.edge
        ),
        '[]'
      )
      from (
        select e.*
        from tide.run_edges as e
        where e.parent_id = v_run.run_id
        order by
          e.created_at desc,
          e.edge
        limit 1000
      ) as c
    ),
    'deliveries', (
      select coalesce(
        jsonb_agg(
          to_jsonb(d) - '{run_id,token,lease_id,ended_lease_id,secret_name}'::text[]
          order by d.delivery_id
        ),
        '[]'
      )
      from (
        select l.*
        from tide.deliveries as l
        where l.run_id = v_run.run_id
        order by l.delivery_id desc
        limit 1000
      ) as d
    ),
    'state', (
      select coalesce(jsonb_object_agg(s.stream, to_jsonb(s) - '{run_id,stream}'::text[]), '{}')
      from tide.state_streams as s
      where s.run_id = v_run.run_id
    ),
    'versions', (
      select coalesce(
        jsonb_agg(to_jsonb(v) - 'run_id' order by v.created_at, v.stream, v.version), '[]'
      )
      from (
        select n.*
        from tide.state_versions as n
        where n.run_id = v_run.run_id
        order by
          n.created_at desc,
          n.stream,
          n.version desc
        limit 1000
      ) as v
    ),
    'channels', (
      select coalesce(
        jsonb_agg(to_jsonb(c) - '{run_id,secret_name}'::text[] order by c.channel), '[]'
      )
      from tide.channels as c
      where c.run_id = v_run.run_id
    ),
    'usage', (
      select to_jsonb(u) - 'run_id'
      from tide.usage_by_run as u
      where u.run_id = v_run.run_id
    ),
    'events', (
      select coalesce(jsonb_agg(to_jsonb(n) - 'run_id' order by n.seq), '[]')
      from (
        select e.*
        from tide.event_log as e
        where e.run_id = v_run.run_id
        order by e.seq desc
        limit 1000
      ) as n
    )
  );
end;
$$;

comment on function tide.describe_run is
  'Everything about a run in one snapshot, as jsonb: run, steps, further lanes, gates, waits, children '
  '(newest 1000), deliveries (newest 1000), state, usage totals, events (newest 1000).';
