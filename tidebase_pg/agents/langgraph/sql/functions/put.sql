create or replace function tide_langgraph.put(
  thread_id text,
  checkpoint_ns text,
  checkpoint_id text,
  parent_id text,
  checkpoint jsonb,
  metadata jsonb,
  channels jsonb,
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
  v_thread_no constant bigint := tide_langgraph._thread_no(put.thread_id);
  v_channel record;
  v_items bytea[];
  v_base tide_langgraph.channels;
  v_list_no bigint;
begin
  perform tide_langgraph._keep_blobs(v_thread_no, put.hashes, put.types, put.datas);
  for v_channel in
    select c.*
    from jsonb_to_recordset(put.channels)
      as c(channel text, version text, hash text, base text, keep integer, items jsonb)
    order by c.channel
  loop
    v_list_no := null;
    if v_channel.items is not null then
      v_items := array(
        select decode(i.hash, 'hex')
        from jsonb_array_elements_text(v_channel.items) with ordinality as i(hash, place)
        order by i.place
      );
      perform tide_langgraph._require_blobs(v_thread_no, v_items);
      v_base := null;
      if v_channel.base is not null then
        select c.*
        into v_base
        from tide_langgraph.channels as c
        where c.thread_no = v_thread_no
          and c.checkpoint_ns = put.checkpoint_ns
          and c.channel = v_channel.channel
          and c.version = v_channel.base
          and c.length >= v_channel.keep;
        if not found then
          raise exception 'version % of channel % is not stored any more',
              quote_literal(v_channel.base), quote_literal(v_channel.channel)
            using errcode = 'TD010',
                  hint = 'Send all values.';
        end if;
      end if;
      v_list_no := tide_langgraph._extend(
        v_thread_no, v_base.list_no, coalesce(v_channel.keep, 0), v_items
      );
    elsif v_channel.hash is not null then
      perform tide_langgraph._require_blobs(
        v_thread_no, array[decode(v_channel.hash, 'hex')]
      );
    end if;
    insert into tide_langgraph.channels as c (
      thread_no, checkpoint_ns, channel, version, hash, list_no, length
    )
    values (
      v_thread_no,
      put.checkpoint_ns,
      v_channel.channel,
      v_channel.version,
      decode(v_channel.hash, 'hex'),
      v_list_no,
      case when v_list_no is not null then coalesce(v_channel.keep, 0) + cardinality(v_items) end
    )
    on conflict do nothing;
  end loop;
  insert into tide_langgraph.checkpoints as c (
    thread_no, checkpoint_ns, checkpoint_id, parent_id, checkpoint, metadata
  )
  values (
    v_thread_no,
    put.checkpoint_ns,
    put.checkpoint_id,
    put.parent_id,
    put.checkpoint,
    put.metadata
  )
  on conflict on constraint checkpoints_pkey do update
  set
    checkpoint = excluded.checkpoint,
    metadata = excluded.metadata;
end;
$$;

comment on function tide_langgraph.put is
  'Store a checkpoint and the channels that changed. hashes, types and datas are the values the caller '
  'does not know to be stored; one that is missing all the same: TD010.';
