-- Key share: writers do not wait for each other, only for who removes from the thread.
create or replace function tide_langgraph._thread_no(thread_id text)
returns bigint
language plpgsql
volatile
as $$
declare
  v_thread tide_langgraph.threads;
begin
  loop
    select t.*
    into v_thread
    from tide_langgraph.threads as t
    where t.thread_id = _thread_no.thread_id
    for key share;
    exit when found;
    insert into tide_langgraph.threads (thread_id)
    values (_thread_no.thread_id)
    on conflict do nothing;
  end loop;
  if v_thread.touched_at < clock_timestamp() - interval '1 minute' then
    update tide_langgraph.threads as t
    set touched_at = clock_timestamp()
    where t.thread_no = v_thread.thread_no;
  end if;
  return v_thread.thread_no;
end;
$$;

comment on function tide_langgraph._thread_no is
  'The number of a thread, made if need be; nothing is removed from it until the transaction ends.';
