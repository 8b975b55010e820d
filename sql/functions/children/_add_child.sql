create or replace function tide._add_child(
  parent tide.runs,
  child tide.new_run,
  options jsonb
)
returns tide.run_edges
language plpgsql
volatile
as $$
declare
  v_edge tide.run_edges;
begin
  insert into tide.run_edges as e (
    parent_id, edge, child_id, edge_type, detached, metadata, created_at
  )
  values (
    parent.run_id,
    tide._valid_text('edge', _add_child.options ->> 'edge', 256),
    child.run_id,
    coalesce(tide._option_text('edge_type', _add_child.options -> 'edge_type', 128), 'child'),
    coalesce(tide._option_boolean('detached', _add_child.options -> 'detached'), false),
    coalesce(
      tide._valid_payload(
        'edge_metadata', nullif(_add_child.options -> 'edge_metadata', 'null')
      ),
      '{}'
    ),
    child.created_at
  )
  returning e.* into v_edge;
  perform tide._insert_runs(array[child], free => true);
  perform tide._make_ready(child.queue, child.priority, child.run_at);
  if coalesce(_add_child.options -> 'channels', 'null') <> 'null' then
    perform tide._add_channels(child.run_id, _add_child.options -> 'channels');
  end if;
  perform tide._emit(
    array[child.run_id],
    array[1],
    case when child.queue is null then 'run.created' else 'run.enqueued' end,
    array[
      tide._enqueued_event(
        child.workflow, child.queue, child.priority, child.run_at, child.max_attempts
      )
      || jsonb_build_object('parent_id', parent.run_id, 'edge', v_edge.edge)
    ]
  );
  perform tide._log(
    parent.run_id,
    'run.child.created',
    jsonb_build_object(
      'edge', v_edge.edge,
      'child_id', child.run_id,
      'workflow', child.workflow,
      'queue', child.queue
    )
  );
  return v_edge;
end;
$$;

comment on function tide._add_child is 'Insert a child of a locked run, with its edge and both events.';
