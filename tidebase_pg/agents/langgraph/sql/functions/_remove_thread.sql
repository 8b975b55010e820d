create or replace function tide_langgraph._remove_thread(thread_no bigint)
returns void
language plpgsql
volatile
as $$
begin
  delete from tide_langgraph.writes as w where w.thread_no = _remove_thread.thread_no;
  delete from tide_langgraph.checkpoints as c where c.thread_no = _remove_thread.thread_no;
  delete from tide_langgraph.channels as c where c.thread_no = _remove_thread.thread_no;
  delete from tide_langgraph.elements as e
  using tide_langgraph.lists as l
  where l.thread_no = _remove_thread.thread_no
    and e.list_no = l.list_no;
  delete from tide_langgraph.lists as l where l.thread_no = _remove_thread.thread_no;
  delete from tide_langgraph.blobs as b where b.thread_no = _remove_thread.thread_no;
  delete from tide_langgraph.threads as t where t.thread_no = _remove_thread.thread_no;
end;
$$;

comment on function tide_langgraph._remove_thread is
  'Remove a thread, held alone by the caller, with everything in it.';
