create or replace function tide_langgraph._collect(thread_no bigint)
returns void
language plpgsql
volatile
as $$
begin
  delete from tide_langgraph.channels as c
  where c.thread_no = _collect.thread_no
    and (c.checkpoint_ns, c.channel, c.version) not in (
      select
        p.checkpoint_ns,
        v.channel,
        v.version
      from tide_langgraph.checkpoints as p
      cross join lateral jsonb_each_text(p.checkpoint -> 'channel_versions')
        as v(channel, version)
      where p.thread_no = _collect.thread_no
    );

  with recursive need as (
    select
      c.list_no,
      c.length
    from tide_langgraph.channels as c
    where c.thread_no = _collect.thread_no
      and c.list_no is not null
    union
    select
      l.parent_no,
      least(n.length, l.shared)
    from need as n
    join tide_langgraph.lists as l on l.list_no = n.list_no
    where l.parent_no is not null
  ), kept as materialized (
    select
      n.list_no,
      max(n.length) as length
    from need as n
    group by n.list_no
  ), gone as (
    delete from tide_langgraph.lists as l
    where l.thread_no = _collect.thread_no
      and l.list_no not in (
        select k.list_no
        from kept as k
      )
    returning l.list_no
  ), cut as (
    update tide_langgraph.lists as l
    set length = greatest(k.length, l.shared)
    from kept as k
    where l.list_no = k.list_no
      and l.length > greatest(k.length, l.shared)
    returning
      l.list_no,
      l.length
  )
  delete from tide_langgraph.elements as e
  using (
    select
      g.list_no,
      0 as length
    from gone as g
    union all
    select
      c.list_no,
      c.length
    from cut as c
  ) as x
  where e.list_no = x.list_no
    and e.place > x.length;

  delete from tide_langgraph.blobs as b
  where b.thread_no = _collect.thread_no
    and b.hash not in (
      select c.hash
      from tide_langgraph.channels as c
      where c.thread_no = _collect.thread_no
        and c.hash is not null
      union all
      select e.hash
      from tide_langgraph.lists as l
      join tide_langgraph.elements as e on e.list_no = l.list_no
      where l.thread_no = _collect.thread_no
      union all
      select h.hash
      from tide_langgraph.writes as w
      cross join lateral unnest(w.hashes) as h(hash)
      where w.thread_no = _collect.thread_no
    );
end;
$$;

comment on function tide_langgraph._collect is
  'Remove what no checkpoint and no write of a thread, held alone by the caller, refers to.';
