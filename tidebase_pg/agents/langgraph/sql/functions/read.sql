-- Written so that one plan is good for all conditions: each place, a thread and a namespace in it,
-- is read backwards from its newest checkpoint that may do. What may be few or many is found by keys
-- alone, since until the tables are analyzed the planner takes all a thread has for little. Limit 1
-- also keeps what is looked up once from being looked up wherever it is used.
--
-- Values are rows of their own: Postgres takes twice as long to send them as one array.
create or replace function tide_langgraph.read(
  thread_id text default null,
  checkpoint_ns text default null,
  checkpoint_id text default null,
  filter jsonb default null,
  before text default null,
  max_checkpoints integer default null,
  known jsonb default null
)
returns table (
  checkpoint text,
  hash bytea,
  type text,
  data bytea
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_memoize = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  v_thread_nos bigint[];
  v_found record;
begin
  if read.thread_id is null then
    v_thread_nos := array(select t.thread_no from tide_langgraph.threads as t);
  else
    v_thread_nos := array(
      select t.thread_no
      from tide_langgraph.threads as t
      where t.thread_id = read.thread_id
    );
  end if;
  for v_found in
    select
      f.thread_no,
      v.hashes || w.hashes as hashes,
      json_build_object(
        'thread', f.thread_id,
        'namespace', f.checkpoint_ns,
        'id', f.checkpoint_id,
        'parent', f.parent_id,
        'checkpoint', f.checkpoint,
        'metadata', f.metadata,
        'channels', v.channels,
        'hashes', v.text,
        'writes', w.writes,
        'write_hashes', w.text
      ) as document
    from (
      select
        t.thread_id,
        c.*
      from tide_langgraph.threads as t
      cross join lateral (
        select read.checkpoint_ns as name
        where read.checkpoint_ns is not null
        union all
        select distinct n.checkpoint_ns
        from tide_langgraph.checkpoints as n
        where read.checkpoint_ns is null
          and n.thread_no = t.thread_no
      ) as n
      cross join lateral (
        select max(l.checkpoint_id) as id
        from tide_langgraph.checkpoints as l
        where l.thread_no = t.thread_no
          and l.checkpoint_ns = n.name
      ) as l
      cross join lateral (
        select k.*
        from tide_langgraph.checkpoints as k
        where k.thread_no = t.thread_no
          and k.checkpoint_ns = n.name
          and k.checkpoint_id >= coalesce(read.checkpoint_id, '')
          and k.checkpoint_id <= coalesce(read.checkpoint_id, read.before, l.id)
          and (read.before is null or k.checkpoint_id < read.before)
          and (read.filter is null or k.metadata @> read.filter)
        order by k.checkpoint_id desc
        limit read.max_checkpoints
      ) as c
      where t.thread_no = any(v_thread_nos)
      order by c.checkpoint_id desc
      limit read.max_checkpoints
    ) as f
    cross join lateral (
      select
        json_agg(
          json_build_array(n.channel, n.version, n.count, n.keep) order by n.number, n.place
        ) filter (where n.is_first) as channels,
        array_agg(n.hash order by n.number, n.place) filter (where n.hash is not null) as hashes,
        encode(string_agg(n.hash, '' order by n.number, n.place), 'hex') as text
      from (
        select
          g.number,
          c.channel,
          c.version,
          coalesce(c.length, -1) as count,
          k.keep,
          e.place,
          coalesce(e.place = k.keep + 1, true) as is_first,
          case when c.hash is null then e.hash when k.keep = 0 then c.hash end as hash
        from jsonb_each_text(f.checkpoint -> 'channel_versions')
          with ordinality as g(channel, version, number)
        cross join lateral (
          select k.*
          from tide_langgraph.channels as k
          where k.thread_no = f.thread_no
            and k.checkpoint_ns = f.checkpoint_ns
            and k.channel = g.channel
            and k.version = g.version
            and num_nonnulls(k.hash, k.list_no) = 1
          limit 1
        ) as c
        cross join lateral (
          select coalesce(
            case
              when c.hash is not null
                then (c.hash = decode(read.known -> c.channel ->> 1, 'hex'))::integer
              else (
                select least(o.length, c.length)
                from tide_langgraph.channels as o
                join tide_langgraph.elements as e
                  on e.list_no = o.list_no
                  and e.place = o.length
                  and e.hash = decode(read.known -> c.channel ->> 1, 'hex')
                where o.thread_no = f.thread_no
                  and o.checkpoint_ns = f.checkpoint_ns
                  and o.channel = c.channel
                  and o.version = read.known -> c.channel ->> 0
                  and o.list_no = c.list_no
              )
            end,
            0
          ) as keep
          limit 1
        ) as k
        left join lateral (
          select m.*
          from tide_langgraph._elements(c.list_no, c.length) as m
          where m.place > k.keep
        ) as e on true
      ) as n
    ) as v
    cross join lateral (
      select
        json_agg(
          json_build_array(n.task_id, n.channel, n.count) order by n.number, n.place
        ) filter (where n.is_first) as writes,
        array_agg(n.hash order by n.number, n.place) filter (where n.hash is not null) as hashes,
        encode(string_agg(n.hash, '' order by n.number, n.place), 'hex') as text
      from (
        select
          w.task_id,
          w.channel,
          case when w.is_list then cardinality(w.hashes) else -1 end as count,
          w.number,
          h.place,
          coalesce(h.place = 1, true) as is_first,
          h.hash
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
      ) as n
    ) as w
    order by f.checkpoint_id desc
  loop
    checkpoint := v_found.document;
    return next;
    return query
    select
      null::text,
      d.hash,
      d.type,
      d.data
    from tide_langgraph.blobs as d
    where d.thread_no = v_found.thread_no
      and d.hash = any(v_found.hashes);
  end loop;
end;
$$;

comment on function tide_langgraph.read is
  'Checkpoints with what their channels hold and what their tasks wrote, newest first: a row for each, then '
  'one for each value, once. channels are [channel, version, count, keep], writes [task, channel, count]: so many '
  'hashes belong to each, -1 = one value that is no list. known, {channel: [version, hash of its value or of '
  'its last element]}, is what the caller has: keep says how many values are the same, and do not come.';
