create or replace function tide._parse_child(parent tide.runs, child jsonb)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_argument constant text := 'children[' || coalesce(child -> 'edge', 'null')::text || ']';
  v_queue constant text := tide._option_text(
    v_argument || '.queue', child -> 'queue', 128
  );
  v_options constant jsonb := child
    - '{workflow,input,edge,queue,edge_type,edge_metadata,detached}'::text[];
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
  v_run.run_id := tide._uuid7();
  v_run.queue := v_queue;
  v_run.created_at := v_now;
  v_run.parent_id := parent.run_id;
  if tide._is_plain(child) and v_options = '{}' then
    v_run.workflow := child ->> 'workflow';
    v_run.input := coalesce(nullif(child -> 'input', 'null'), '{}');
    v_run.metadata := '{}';
    v_run.priority := 0;
    v_run.max_attempts := coalesce(v_max_attempts, 1);
    v_run.run_at := v_now;
    v_run.ready := true;
    return v_run;
  end if;
  select
    p.workflow,
    p.input,
    p.metadata,
    p.priority,
    p.max_attempts,
    p.run_at,
    p.run_at <= v_now,
    p.deadline,
    v_now + p.deadline,
    p.backoff,
    p.budget
  into
    v_run.workflow,
    v_run.input,
    v_run.metadata,
    v_run.priority,
    v_run.max_attempts,
    v_run.run_at,
    v_run.ready,
    v_run.deadline,
    v_run.deadline_at,
    v_run.backoff,
    v_run.budget
  from tide._parse_batch(
    jsonb_build_array(_parse_child.child - '{edge,queue,edge_type,edge_metadata,detached}'::text[]),
    v_now,
    coalesce(v_max_attempts, 1),
    v_argument
  ) as p;
  return v_run;
end;
$$;

comment on function tide._parse_child is
  'A child run out of an object of spawn_many, or 22023 naming the edge and the argument.';
