-- The rows of the predecessors are updated, not only locked: an end that waits for this transaction
-- looks again at what it ended, or is refused where its snapshot is older.
create or replace function tide._add_predecessors(
  edges tide.predecessors[],
  places integer[] default null,
  names text[] default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_after constant uuid[] := array(
    select distinct e.after_id
    from unnest(_add_predecessors.edges) as e
    order by e.after_id
  );
  v_active uuid[];
  v_ended uuid[];
  v_edge record;
  v_run tide.runs;
begin
  perform tide._require_read_committed('enqueue with after');
  perform tide._require_run(a.run_id)
  from unnest(v_after) as a(run_id)
  where exists (
    select
    from tide.queue_grants as g
  );
  -- Again when a retry has brought a run back between the two looks.
  for v_round in 1..3 loop
    v_active := array(
      select r.run_id
      from tide.runs_active as r
      where r.run_id = any (v_after)
      order by r.run_id
      for no key update
    );
    v_ended := array(
      select f.run_id
      from tide.runs_finished as f
      where f.run_id = any (v_after)
    );
    exit when cardinality(v_active) + cardinality(v_ended) = cardinality(v_after);
  end loop;
  if cardinality(v_active) + cardinality(v_ended) < cardinality(v_after) then
    select
      e.after_id,
      tide._batch_argument(
        _add_predecessors.names[_add_predecessors.places[e.ordinal]],
        _add_predecessors.places[e.ordinal]
      ) as argument
    into v_edge
    from unnest(_add_predecessors.edges) with ordinality as e(
      run_id, after_id, after_failure, run_at, ended_as, noticed, ordinal
    )
    where e.after_id not in (
        select a.run_id
        from unnest(v_active || v_ended) as a(run_id)
      )
    order by e.ordinal
    limit 1;
    raise exception 'run % does not exist: %after names it', v_edge.after_id,
        coalesce(v_edge.argument || '.', '')
      using errcode = 'TD010',
            hint = 'Check the id; retention may have removed the run.';
  end if;

  update tide.runs_active as r
  set followed = true
  where r.run_id = any (v_active);
  insert into tide.predecessors (run_id, after_id, after_failure, run_at, ended_as, noticed)
  select
    e.run_id,
    e.after_id,
    e.after_failure,
    e.run_at,
    (
      select f.status
      from tide.runs_finished as f
      where f.run_id = e.after_id
    ),
    true
  from unnest(_add_predecessors.edges) as e
  on conflict on constraint predecessors_pkey do nothing;
  perform tide._emit(
    array_agg(n.run_id),
    array_agg(1),
    'run.enqueued',
    array_agg(
      tide._enqueued_event(n.workflow, n.queue, n.priority, n.run_at, n.max_attempts)
      || jsonb_build_object('after', n.after, 'after_mode', n.waiting_for)
      || case
        when n.parent_id is null then '{}'
        else jsonb_build_object('parent_id', n.parent_id, 'edge', n.edge)
      end
    )
  )
  from (
    select
      r.run_id,
      r.workflow,
      r.queue,
      r.priority,
      r.max_attempts,
      r.waiting_for,
      r.parent_id,
      (
        select c.edge
        from tide.run_edges as c
        where c.child_id = r.run_id
          and r.parent_id is not null
      ) as edge,
      e.run_at,
      e.after
    from (
      select
        d.run_id,
        min(d.run_at) as run_at,
        jsonb_agg(d.after_id) as after
      from unnest(_add_predecessors.edges) as d
      group by d.run_id
    ) as e
    -- One look for each, whatever the planner takes the table for.
    cross join lateral (
      select a.*
      from tide.runs_active as a
      where a.run_id = e.run_id
    ) as r
  ) as n;
  if cardinality(v_ended) > 0 then
    for v_run in
      select r.*
      from tide.runs_active as r
      where r.run_id = any (
        array(
          select e.run_id
          from unnest(_add_predecessors.edges) as e
          where e.after_id = any (v_ended)
        )
      )
    loop
      perform tide._judge_dependent(v_run);
    end loop;
  end if;
end;
$$;

comment on function tide._add_predecessors is
  'Let runs this transaction made, which are parked, wait for others; places = where in a batch each '
  'stands, from 1, names = the edges of the batch. A run that does not exist: TD010; of a closed queue: '
  '42501. Those that need wait no longer are made ready.';
