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
  v_run constant tide.runs := tide._find_run(describe_run.run_id);
begin
  return jsonb_build_object(
    'run', to_jsonb(v_run) - 'lease_id',
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
    'events', (
      select coalesce(jsonb_agg(to_jsonb(n) - 'run_id' order by n.seq), '[]')
      from (
        select e.*
        from tide.events as e
        where e.run_id = v_run.run_id
        order by e.seq desc
        limit 1000
      ) as n
    )
  );
end;
$$;

comment on function tide.describe_run is
  'Everything about a run in one snapshot, as jsonb: run, steps, events (the newest 1000).';
