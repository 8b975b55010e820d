create or replace function tide_langgraph.copy_thread(source_id text, target_id text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_source_no bigint;
  v_target_no bigint;
begin
  if copy_thread.source_id = copy_thread.target_id then
    return;
  end if;
  select t.thread_no
  into v_source_no
  from tide_langgraph.threads as t
  where t.thread_id = copy_thread.source_id
  for key share;
  if not found then
    return;
  end if;
  perform tide_langgraph._thread_no(copy_thread.target_id);
  select t.thread_no
  into v_target_no
  from tide_langgraph.threads as t
  where t.thread_id = copy_thread.target_id
  for update;
  if exists (
    select
    from tide_langgraph.checkpoints as c
    where c.thread_no = v_target_no
  ) then
    raise exception 'thread % has checkpoints already', quote_literal(copy_thread.target_id)
      using errcode = 'TD020',
            hint = 'Copy to a new thread, or delete this one first.';
  end if;
  insert into tide_langgraph.blobs (thread_no, hash, type, data)
  select
    v_target_no,
    b.hash,
    b.type,
    b.data
  from tide_langgraph.blobs as b
  where b.thread_no = v_source_no
  on conflict do nothing;

  -- Parents have smaller numbers, and the copies keep the order.
  with numbered as materialized (
    select
      l.*,
      nextval(pg_get_serial_sequence('tide_langgraph.lists', 'list_no')) as copy_no
    from (
      select o.*
      from tide_langgraph.lists as o
      where o.thread_no = v_source_no
      order by o.list_no
    ) as l
  ), copied as (
    insert into tide_langgraph.lists (list_no, thread_no, parent_no, shared, length, depth)
    overriding system value
    select
      n.copy_no,
      v_target_no,
      p.copy_no,
      n.shared,
      n.length,
      n.depth
    from numbered as n
    left join numbered as p on p.list_no = n.parent_no
  ), filled as (
    insert into tide_langgraph.elements (list_no, place, hash)
    select
      n.copy_no,
      e.place,
      e.hash
    from numbered as n
    join tide_langgraph.elements as e on e.list_no = n.list_no
  )
  insert into tide_langgraph.channels (
    thread_no, checkpoint_ns, channel, version, hash, list_no, length
  )
  select
    v_target_no,
    c.checkpoint_ns,
    c.channel,
    c.version,
    c.hash,
    n.copy_no,
    c.length
  from tide_langgraph.channels as c
  left join numbered as n on n.list_no = c.list_no
  where c.thread_no = v_source_no;

  insert into tide_langgraph.checkpoints (
    thread_no, checkpoint_ns, checkpoint_id, parent_id, checkpoint, metadata
  )
  select
    v_target_no,
    c.checkpoint_ns,
    c.checkpoint_id,
    c.parent_id,
    c.checkpoint,
    c.metadata
  from tide_langgraph.checkpoints as c
  where c.thread_no = v_source_no;
  insert into tide_langgraph.writes (
    thread_no, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, is_list, hashes
  )
  select
    v_target_no,
    w.checkpoint_ns,
    w.checkpoint_id,
    w.task_id,
    w.idx,
    w.task_path,
    w.channel,
    w.is_list,
    w.hashes
  from tide_langgraph.writes as w
  where w.thread_no = v_source_no;
end;
$$;

comment on function tide_langgraph.copy_thread is
  'Copy all checkpoints and writes of a thread to a new one; one that has checkpoints: TD020.';
