create or replace function tide_langgraph.delete_for_runs(run_ids text[])
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_thread_no bigint;
begin
  for v_thread_no in
    select t.thread_no
    from tide_langgraph.threads as t
    where t.thread_no in (
      select c.thread_no
      from tide_langgraph.checkpoints as c
      where c.metadata ? 'run_id'
        and c.metadata ->> 'run_id' = any (delete_for_runs.run_ids)
    )
    order by t.thread_no
    for update
  loop
    with gone as (
      delete from tide_langgraph.checkpoints as c
      where c.thread_no = v_thread_no
        and c.metadata ->> 'run_id' = any (delete_for_runs.run_ids)
      returning
        c.checkpoint_ns,
        c.checkpoint_id
    )
    delete from tide_langgraph.writes as w
    using gone as g
    where w.thread_no = v_thread_no
      and w.checkpoint_ns = g.checkpoint_ns
      and w.checkpoint_id = g.checkpoint_id;
    perform tide_langgraph._collect(v_thread_no);
  end loop;
end;
$$;

comment on function tide_langgraph.delete_for_runs is
  'Remove the checkpoints that these runs made, and what only they referred to.';
