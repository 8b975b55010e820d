-- One lock on the parent for any number of children.
create or replace function tide.spawn_many(run_id uuid, lease_id uuid, children jsonb)
returns table (edge text, child_id uuid, created boolean, status text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_run constant tide.runs := tide._hold(spawn_many.run_id, spawn_many.lease_id);
  v_child jsonb;
  v_known tide.run_edges;
  v_new tide.new_run;
begin
  perform tide._require_read_committed('spawn_many');
  perform tide._refuse_overdue(v_run);
  perform tide._valid_elements(
    'children',
    spawn_many.children,
    array[
      'edge', 'workflow', 'input', 'queue', 'priority', 'delay', 'run_at', 'max_attempts',
      'deadline', 'metadata', 'backoff', 'budget', 'edge_type', 'edge_metadata', 'detached',
      'recovery_url', 'channels'
    ],
    10000
  );
  for v_child in
    select e.element
    from jsonb_array_elements(spawn_many.children) with ordinality as e(element, ordinality)
    order by e.ordinality
  loop
    v_new := null;
    select e.*
    into v_known
    from tide.run_edges as e
    where e.parent_id = v_run.run_id
      and e.edge = v_child ->> 'edge';
    if found then
      perform tide._refuse_other_child(v_known, v_child);
    else
      v_new := tide._parse_child(v_run, v_child);
      v_known := tide._add_child(v_run, v_new, v_child);
    end if;
    return query
    select
      v_known.edge,
      v_known.child_id,
      v_new.run_id is not distinct from v_known.child_id,
      c.status
    from tide.runs as c
    where c.run_id = v_known.child_id;
  end loop;
end;
$$;

comment on function tide.spawn_many is
  'Make children of a leased run, one for each edge name: an array of objects with edge, workflow and '
  'the arguments of enqueue; queue null = a plain run the parent begins itself. An edge that exists '
  'gives its child; with another workflow or input it is TD020.';
