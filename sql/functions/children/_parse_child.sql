create or replace function tide._parse_child(parent tide.runs, child jsonb)
returns tide.new_run
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_argument constant text := 'children[' || coalesce(child -> 'edge', 'null')::text || ']';
  v_queue constant text := tide._option_text(
    v_argument || '.queue', child -> 'queue', 128
  );
  v_max_attempts integer;
  v_run tide.new_run;
begin
  if v_queue is not null then
    perform tide._valid_name(v_argument || '.queue', v_queue);
    perform tide._require_queue(v_queue, 'enqueue');
    select q.max_attempts
    into v_max_attempts
    from tide.queues as q
    where q.queue = v_queue;
  end if;
  v_run := (
    tide._parse_batch(
      v_queue,
      jsonb_build_array(
        _parse_child.child - '{edge,queue,edge_type,edge_metadata,detached}'::text[]
      ),
      v_now,
      coalesce(v_max_attempts, 1),
      v_argument
    )
  )[1];
  v_run.parent_id := parent.run_id;
  v_run.requested_by := parent.requested_by;
  v_run.told_events := 0;
  return v_run;
end;
$$;

comment on function tide._parse_child is
  'A child run out of an object of spawn_many, or 22023 naming the edge and the argument.';
