create or replace function tide_langgraph.delete_thread(thread_id text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_thread_no bigint;
begin
  select t.thread_no
  into v_thread_no
  from tide_langgraph.threads as t
  where t.thread_id = delete_thread.thread_id
  for update;
  if not found then
    return;
  end if;
  perform tide_langgraph._remove_thread(v_thread_no);
end;
$$;

comment on function tide_langgraph.delete_thread is
  'Remove a thread with everything in it; an unknown one is none.';
