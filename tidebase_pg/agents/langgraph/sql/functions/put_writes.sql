create or replace function tide_langgraph.put_writes(
  thread_id text,
  checkpoint_ns text,
  checkpoint_id text,
  task_id text,
  task_path text,
  replace boolean,
  writes jsonb,
  hashes bytea[],
  types text[],
  datas bytea[]
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_thread_no constant bigint := tide_langgraph._thread_no(put_writes.thread_id);
begin
  perform tide_langgraph._keep_blobs(
    v_thread_no, put_writes.hashes, put_writes.types, put_writes.datas
  );
  insert into tide_langgraph.writes as w (
    thread_no, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, is_list, hashes
  )
  select
    v_thread_no,
    put_writes.checkpoint_ns,
    put_writes.checkpoint_id,
    put_writes.task_id,
    g.idx,
    put_writes.task_path,
    g.channel,
    g.is_list,
    array(
      select decode(i.hash, 'hex')
      from jsonb_array_elements_text(g.items) with ordinality as i(hash, place)
      order by i.place
    )
  from jsonb_to_recordset(put_writes.writes)
    as g(idx integer, channel text, is_list boolean, items jsonb)
  order by g.idx
  on conflict on constraint writes_pkey do update
  set
    channel = excluded.channel,
    is_list = excluded.is_list,
    hashes = excluded.hashes
  where put_writes.replace;
end;
$$;

comment on function tide_langgraph.put_writes is
  'Store what a task of a checkpoint wrote. What is there already stays, unless replace is true.';
