create or replace function tide._finished_queues()
returns text[]
language plpgsql
stable
as $$
declare
  v_queue text := '';
  v_queues text[] := array[]::text[];
begin
  -- One probe of the index for each queue.
  loop
    select f.queue
    into v_queue
    from tide.runs_finished as f
    where f.queue > v_queue
    order by f.queue
    limit 1;
    exit when not found;
    v_queues := v_queues || v_queue;
  end loop;
  return v_queues;
end;
$$;

comment on function tide._finished_queues is 'The queues that have finished runs, by name.';
