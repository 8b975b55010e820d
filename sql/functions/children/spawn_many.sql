-- One lock on the parent for any number of children, and one insert for those of a queue.
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
  v_run tide.runs;
  v_queue text;
  v_children jsonb;
  v_group integer[];
  v_places integer[] := array[]::integer[];
  v_made uuid[] := array[]::uuid[];
begin
  perform tide._lock_named(spawn_many.run_id, spawn_many.children);
  v_run := tide._hold(spawn_many.run_id, spawn_many.lease_id);
  perform tide._require_read_committed('spawn_many');
  perform tide._refuse_overdue(v_run);
  perform tide._valid_elements(
    'children',
    spawn_many.children,
    array[
      'edge', 'workflow', 'input', 'queue', 'priority', 'delay', 'run_at', 'max_attempts',
      'deadline', 'metadata', 'backoff', 'budget', 'edge_type', 'edge_metadata', 'detached',
      'recovery_url', 'channels', 'lane', 'lane_key', 'cost', 'also_lanes', 'after', 'after_mode',
      'after_failure'
    ],
    10000
  );
  for v_queue, v_children, v_group in
    select
      f.queue,
      jsonb_agg(f.element order by f.place),
      array_agg(f.place order by f.place)
    from (
      select distinct on (c.element ->> 'edge')
        c.element,
        c.place::integer as place,
        case
          when jsonb_typeof(c.element -> 'queue') = 'string' then c.element ->> 'queue'
          else tide._option_text(
            tide._batch_argument(coalesce(c.element ->> 'edge', ''), c.place) || '.queue',
            c.element -> 'queue',
            128
          )
        end as queue
      from jsonb_array_elements(spawn_many.children) with ordinality as c(element, place)
      -- No join: the planner knows nothing of the sizes.
      where (
          select e.child_id
          from tide.run_edges as e
          where e.parent_id = v_run.run_id
            and e.edge = c.element ->> 'edge'
        ) is null
      order by
        c.element ->> 'edge',
        c.place
    ) as f
    group by f.queue
    order by min(f.place)
  loop
    v_places := v_places || v_group;
    v_made := v_made || tide._add_children(v_run, v_queue, v_children);
  end loop;
  perform tide._let_children_follow(v_run, spawn_many.children, v_places, v_made);
  if cardinality(v_places) < jsonb_array_length(spawn_many.children) then
    perform tide._refuse_other_child(
      (
        select e
        from tide.run_edges as e
        where e.parent_id = v_run.run_id
          and e.edge = c.element ->> 'edge'
      ),
      c.element
    )
    from jsonb_array_elements(spawn_many.children) with ordinality as c(element, place)
    where c.place <> all (v_places);
  end if;
  return query
  select
    c.element ->> 'edge',
    coalesce(n.child_id, k.child_id),
    n.child_id is not null,
    case
      when n.child_id is null then (
        select r.status
        from tide.runs as r
        where r.run_id = k.child_id
      )
      when c.element ->> 'queue' is null then 'pending'
      else 'queued'
    end
  from jsonb_array_elements(spawn_many.children) with ordinality as c(element, place)
  left join unnest(v_places, v_made) as n(place, child_id) on n.place = c.place
  cross join lateral (
    select
      case
        when n.child_id is null then (
          select e.child_id
          from tide.run_edges as e
          where e.parent_id = v_run.run_id
            and e.edge = c.element ->> 'edge'
        )
      end as child_id
  ) as k
  order by c.place;
end;
$$;

comment on function tide.spawn_many is
  'Make children of a leased run, one for each edge name: an array of objects with edge, workflow and '
  'the arguments of enqueue; queue null = a plain run the parent begins itself. An edge that exists '
  'gives its child; with another workflow or input it is TD020. after may name, beside runs, edges of the '
  'same parent, of this array those of elements before.';
