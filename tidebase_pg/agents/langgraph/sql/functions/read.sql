-- Lists come flat: counts says how many of types and datas belong to each channel and each write,
-- -1 = one value that is no list. Data
-- is read last of all, so that nothing sorts or carries it.
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
  hashes bytea[],
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
set plan_cache_mode = force_generic_plan
set enable_memoize = off
set jit = off
as $$
begin
  return query
  select
    f.thread,
    f.namespace,
    f.id,
    f.parent,
    f.checkpoint::text,
    f.metadata::text,
    v.channels,
    v.versions,
    v.counts,
    v.hashes,
    b.types,
    b.datas,
    w.tasks,
    w.channels,
    w.counts,
    d.types,
    d.datas
  from tide_langgraph._found(
    read.thread_id,
    read.checkpoint_ns,
    read.checkpoint_id,
    read.filter,
    read.before,
    read.max_checkpoints
  ) as f
  cross join lateral (
    select
      array_agg(n.channel order by n.channel) filter (where n.place is null or n.place = 1)
        as channels,
      array_agg(n.version order by n.channel) filter (where n.place is null or n.place = 1)
        as versions,
      array_agg(n.count order by n.channel) filter (where n.place is null or n.place = 1)
        as counts,
      array_agg(n.hash order by n.channel, n.place) filter (where n.place is not null) as hashes
    from (
      select
        c.channel,
        c.version,
        coalesce(c.length, -1) as count,
        e.place,
        e.hash
      from jsonb_each_text(f.checkpoint -> 'channel_versions') as g(channel, version)
      cross join lateral (
        select k.*
        from tide_langgraph.channels as k
        where k.thread_no = f.thread_no
          and k.checkpoint_ns = f.namespace
          and k.channel = g.channel
          and k.version = g.version
        limit 1
      ) as c
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
    ) as n
  ) as v
  cross join lateral tide_langgraph._blobs(f.thread_no, v.hashes) as b
  cross join lateral (
    select
      array_agg(n.task_id order by n.number) filter (where n.place is null or n.place = 1)
        as tasks,
      array_agg(n.channel order by n.number) filter (where n.place is null or n.place = 1)
        as channels,
      array_agg(n.count order by n.number) filter (where n.place is null or n.place = 1)
        as counts,
      array_agg(n.hash order by n.number, n.place) filter (where n.place is not null) as hashes
    from (
      select
        w.task_id,
        w.channel,
        case when w.is_list then cardinality(w.hashes) else -1 end as count,
        w.number,
        h.place,
        h.hash
      from (
        select
          x.*,
          row_number() over (
            order by x.task_path collate "C", x.task_id collate "C", x.idx
          ) as number
        from tide_langgraph.writes as x
        where x.thread_no = f.thread_no
          and x.checkpoint_ns = f.namespace
          and x.checkpoint_id = f.id
      ) as w
      left join lateral unnest(w.hashes) with ordinality as h(hash, place) on true
    ) as n
  ) as w
  cross join lateral tide_langgraph._blobs(f.thread_no, w.hashes) as d
  order by f.id desc;
end;
$$;

comment on function tide_langgraph.read is
  'Checkpoints with what their channels hold and what their tasks wrote, newest first.';
