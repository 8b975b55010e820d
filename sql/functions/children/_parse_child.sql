create or replace function tide._parse_child(parent tide.runs, child jsonb)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_argument constant text := 'children[' || coalesce(child -> 'edge', 'null')::text || ']';
  v_queue constant text := tide._option_text(
    v_argument || '.queue', child -> 'queue', 128
  );
  v_max_attempts integer;
  v_run tide.runs;
begin
  if v_queue is not null then
    perform tide._valid_name(v_argument || '.queue', v_queue);
    perform tide._require_queue(v_queue, 'enqueue');
    select q.max_attempts
    into v_max_attempts
    from tide.queues as q
    where q.queue = v_queue;
  end if;
  v_run := tide._parse_run(
    v_argument,
    v_queue,
    coalesce(v_max_attempts, 1),
    tide._now(),
    child - '{edge,queue,edge_type,edge_metadata,detached}'::text[]
  );
  v_run.parent_id := parent.run_id;
  return v_run;
end;
$$;

comment on function tide._parse_child is
  'A child run out of an object of spawn_many, or 22023 naming the edge and the argument.';
