create or replace function tide_langgraph.delete_idle_threads(
  idle interval,
  max_threads integer default 100
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_idle_since constant timestamptz := tide_langgraph._idle_since(delete_idle_threads.idle);
  v_thread tide_langgraph.threads;
  v_deleted integer := 0;
begin
  for v_thread in
    select t.*
    from tide_langgraph.threads as t
    where t.touched_at < v_idle_since
    order by t.touched_at
    limit delete_idle_threads.max_threads
    for update skip locked
  loop
    perform tide_langgraph._remove_thread(v_thread.thread_no);
    v_deleted := v_deleted + 1;
  end loop;
  return v_deleted;
end;
$$;

comment on function tide_langgraph.delete_idle_threads is
  'Remove threads nobody has written to for so long, the oldest first, and return how many; threads in '
  'use are left alone. Call it until it answers 0.';
