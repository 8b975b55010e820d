-- One statement for each kind of row, however many children there are.
create or replace function tide._add_children(parent tide.runs, queue text, children jsonb)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_count constant integer := jsonb_array_length(_add_children.children);
  v_edges text[];
  v_options jsonb;
  v_attempts integer;
  v_runs tide.new_run[];
  v_run_ids uuid[];
  v_waiting text;
  v_last_seq integer;
begin
  select
    array_agg(tide._valid_text('edge', c.element ->> 'edge', 256)),
    jsonb_agg(c.element - '{edge,queue,edge_type,edge_metadata,detached}'::text[])
  into
    v_edges,
    v_options
  from (
    select e.element
    from jsonb_array_elements(_add_children.children) with ordinality as e(element, ordinal)
    order by e.ordinal
  ) as c;
  if _add_children.queue is not null then
    perform tide._valid_name(tide._batch_argument(v_edges[1], 1) || '.queue', _add_children.queue);
    perform tide._require_queue(_add_children.queue, 'enqueue');
    select q.max_attempts
    into v_attempts
    from tide.queues as q
    where q.queue = _add_children.queue;
  end if;
  v_runs := tide._parse_batch(
    _add_children.queue,
    v_options,
    v_now,
    coalesce(v_attempts, 1),
    v_edges,
    _add_children.parent.run_id,
    _add_children.parent.requested_by
  );
  if _add_children.queue is null then
    select u.edge
    into v_waiting
    from unnest(v_edges) with ordinality as u(edge, ordinal)
    where (v_runs[u.ordinal]).after_mode is not null
    order by u.ordinal
    limit 1;
    if found then
      raise exception '%.after is given without a queue', tide._batch_argument(v_waiting, 1)
        using errcode = '22023',
              hint = 'A plain run is begun by its parent: give a queue, whose workers wait for it.';
    end if;
  end if;
  v_run_ids := tide._insert_runs(v_runs, free => true);

  insert into tide.run_edges as e (
    parent_id, edge, child_id, edge_type, detached, metadata, created_at
  )
  select
    _add_children.parent.run_id,
    v_edges[c.ordinal],
    v_run_ids[c.ordinal],
    coalesce(tide._option_text('edge_type', c.element -> 'edge_type', 128), 'child'),
    case
      when c.element ? 'detached'
        then coalesce(tide._option_boolean('detached', c.element -> 'detached'), false)
      else false
    end,
    case
      when c.element ? 'edge_metadata' then coalesce(
        tide._valid_payload('edge_metadata', nullif(c.element -> 'edge_metadata', 'null')), '{}'
      )
      else '{}'
    end,
    v_now
  from jsonb_array_elements(_add_children.children) with ordinality as c(element, ordinal);

  perform tide._make_ready(_add_children.queue, n.priority, min(n.run_at), count(*)::integer)
  from unnest(v_runs) as n
  where _add_children.queue is not null
    and n.run_at < tide._soon()
    and n.after_mode is null
  group by n.priority
  order by n.priority desc;

  if jsonb_path_exists(_add_children.children, '$[*].channels') then
    perform tide._add_channels(
      v_run_ids[c.ordinal],
      c.element -> 'channels',
      prefix => tide._batch_argument(v_edges[c.ordinal], c.ordinal) || '.'
    )
    from jsonb_array_elements(_add_children.children) with ordinality as c(element, ordinal);
  end if;
  -- Of those that come after others, _add_predecessors tells.
  perform tide._emit(
    array_agg(v_run_ids[u.ordinal]),
    array_agg(1),
    case when _add_children.queue is null then 'run.created' else 'run.enqueued' end,
    array_agg(
      tide._enqueued_event(
        (v_runs[u.ordinal]).workflow,
        _add_children.queue,
        (v_runs[u.ordinal]).priority,
        (v_runs[u.ordinal]).run_at,
        (v_runs[u.ordinal]).max_attempts
      )
      || jsonb_build_object('parent_id', _add_children.parent.run_id, 'edge', u.edge)
    )
  )
  from unnest(v_edges) with ordinality as u(edge, ordinal)
  where (v_runs[u.ordinal]).after_mode is null
  having count(*) > 0;
  update tide.runs_active as r
  set
    last_seq = r.last_seq + v_count,
    leased_until = tide._now() + r.lease
  where r.run_id = _add_children.parent.run_id
  returning r.last_seq into v_last_seq;
  perform tide._emit(
    array_fill(_add_children.parent.run_id, array[v_count]),
    array(
      select g.seq
      from generate_series(v_last_seq - v_count + 1, v_last_seq) as g(seq)
      order by g.seq
    ),
    'run.child.created',
    array(
      select jsonb_build_object(
        'edge', u.edge,
        'child_id', v_run_ids[u.ordinal],
        'workflow', (v_runs[u.ordinal]).workflow,
        'queue', _add_children.queue
      )
      from unnest(v_edges) with ordinality as u(edge, ordinal)
      order by u.ordinal
    )
  );
  return v_run_ids;
end;
$$;

comment on function tide._add_children is
  'Insert children of a locked run into one queue, or none, with their edges and events, and return '
  'their ids in order; 22023 naming the edge and the argument.';
