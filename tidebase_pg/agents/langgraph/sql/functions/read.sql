-- Lists come flat: counts says how many of types and datas belong to each channel and each write,
-- -1 = one value that is no list.
create or replace function tide_langgraph.read(
  thread_id text default null,
  checkpoint_ns text default null,
  checkpoint_id text default null,
  filter jsonb default null,
  before text default null,
  max_checkpoints integer default null
)
returns table (
  thread text,
  namespace text,
  id text,
  parent text,
  checkpoint text,
  metadata text,
  channels text[],
  versions text[],
  counts integer[],
  types text[],
  datas bytea[],
  write_tasks text[],
  write_channels text[],
  write_counts integer[],
  write_types text[],
  write_datas bytea[]
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return query
  with found as materialized (
    select
      t.thread_id,
      c.*
    from tide_langgraph.checkpoints as c
    join tide_langgraph.threads as t on t.thread_no = c.thread_no
    where (read.thread_id is null or t.thread_id = read.thread_id)
      and (read.checkpoint_ns is null or c.checkpoint_ns = read.checkpoint_ns)
      and (read.checkpoint_id is null or c.checkpoint_id = read.checkpoint_id)
      and (read.before is null or c.checkpoint_id < read.before)
      and (read.filter is null or c.metadata @> read.filter)
    order by c.checkpoint_id desc
    limit read.max_checkpoints
  )
  select
    f.thread_id,
    f.checkpoint_ns,
    f.checkpoint_id,
    f.parent_id,
    f.checkpoint::text,
    f.metadata::text,
    v.channels,
    v.versions,
    v.counts,
    v.types,
    v.datas,
    w.tasks,
    w.channels,
    w.counts,
    w.types,
    w.datas
  from found as f
  cross join lateral (
    select
      array_agg(n.channel order by n.channel) filter (where n.place is null or n.place = 1)
        as channels,
      array_agg(n.version order by n.channel) filter (where n.place is null or n.place = 1)
        as versions,
      array_agg(n.count order by n.channel) filter (where n.place is null or n.place = 1)
        as counts,
      array_agg(n.type order by n.channel, n.place) filter (where n.place is not null) as types,
      array_agg(n.data order by n.channel, n.place) filter (where n.place is not null) as datas
    from (
      select
        c.channel,
        c.version,
        coalesce(c.length, -1) as count,
        e.place,
        b.type,
        b.data
      from jsonb_each_text(f.checkpoint -> 'channel_versions') as g(channel, version)
      join tide_langgraph.channels as c
        on c.thread_no = f.thread_no
        and c.checkpoint_ns = f.checkpoint_ns
        and c.channel = g.channel
        and c.version = g.version
      left join lateral (
        select
          1 as place,
          c.hash
        where c.hash is not null
        union all
        select
          m.place,
          m.hash
        from tide_langgraph._elements(c.list_no, c.length) as m
        where c.list_no is not null
      ) as e on true
      left join tide_langgraph.blobs as b
        on b.thread_no = f.thread_no
        and b.hash = e.hash
    ) as n
  ) as v
  cross join lateral (
    select
      array_agg(n.task_id order by n.number) filter (where n.place is null or n.place = 1)
        as tasks,
      array_agg(n.channel order by n.number) filter (where n.place is null or n.place = 1)
        as channels,
      array_agg(n.count order by n.number) filter (where n.place is null or n.place = 1)
        as counts,
      array_agg(n.type order by n.number, n.place) filter (where n.place is not null) as types,
      array_agg(n.data order by n.number, n.place) filter (where n.place is not null) as datas
    from (
      select
        w.task_id,
        w.channel,
        case when w.is_list then cardinality(w.hashes) else -1 end as count,
        w.number,
        h.place,
        b.type,
        b.data
      from (
        select
          x.*,
          row_number() over (
            order by x.task_path collate "C", x.task_id collate "C", x.idx
          ) as number
        from tide_langgraph.writes as x
        where x.thread_no = f.thread_no
          and x.checkpoint_ns = f.checkpoint_ns
          and x.checkpoint_id = f.checkpoint_id
      ) as w
      left join lateral unnest(w.hashes) with ordinality as h(hash, place) on true
      left join tide_langgraph.blobs as b
        on b.thread_no = f.thread_no
        and b.hash = h.hash
    ) as n
  ) as w
  order by f.checkpoint_id desc;
end;
$$;

comment on function tide_langgraph.read is
  'Checkpoints with what their channels hold and what their tasks wrote, newest first.';
