create or replace function tide.spawn(
  run_id uuid,
  lease_id uuid,
  edge text,
  workflow text,
  input jsonb default '{}',
  queue text default null,
  options jsonb default '{}'
)
returns table (child_id uuid, created boolean, status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_run tide.runs;
  v_child jsonb;
  v_known tide.run_edges;
  v_made uuid;
begin
  perform tide._lock_named(spawn.run_id, jsonb_build_array(spawn.options));
  v_run := tide._hold(spawn.run_id, spawn.lease_id);
  perform tide._require_read_committed('spawn');
  perform tide._refuse_overdue(v_run);
  perform tide._known_keys(
    'options',
    coalesce(spawn.options, '{}'),
    array[
      'priority', 'delay', 'run_at', 'max_attempts', 'deadline', 'metadata', 'backoff', 'budget',
      'edge_type', 'edge_metadata', 'detached', 'recovery_url', 'channels', 'lane', 'lane_key',
      'cost', 'also_lanes', 'after', 'after_mode', 'after_failure'
    ]
  );
  v_child := coalesce(spawn.options, '{}') || jsonb_build_object(
    'edge', spawn.edge,
    'workflow', spawn.workflow,
    'input', spawn.input,
    'queue', spawn.queue
  );
  v_known := (
    select e
    from tide.run_edges as e
    where e.parent_id = v_run.run_id
      and e.edge = spawn.edge
  );
  if v_known.parent_id is not null then
    perform tide._refuse_other_child(v_known, v_child);
  else
    v_made := (tide._add_children(v_run, spawn.queue, jsonb_build_array(v_child)))[1];
    perform tide._let_children_follow(v_run, jsonb_build_array(v_child), '{1}', array[v_made]);
  end if;
  return query
  select
    c.run_id,
    v_made is not null,
    c.status
  from tide.runs as c
  where c.run_id = coalesce(v_made, v_known.child_id);
end;
$$;

comment on function tide.spawn is
  'Make a child of a leased run; the same edge again gives the same child, with another workflow or '
  'input TD020. queue null = a plain run the parent begins itself. after, in options, are runs that have '
  'to end first, as of enqueue: by id, or children of the same parent by edge.';
