-- A channel of deltas is rebuilt from the writes of its ancestors, back to the last one that has a
-- value stored: those are kept too. A subgraph's call goes with the checkpoint it started from,
-- but only once that one is stored: runs store in the background, so a call can come first.
create or replace function tide_langgraph.prune(thread_ids text[])
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
    where t.thread_id = any (prune.thread_ids)
    order by t.thread_no
    for update
  loop
    with recursive heads as materialized (
      select distinct on (c.checkpoint_ns) c.*
      from tide_langgraph.checkpoints as c
      where c.thread_no = v_thread_no
      order by
        c.checkpoint_ns,
        c.checkpoint_id desc
    ), needed as (
      select
        h.checkpoint_ns,
        h.checkpoint_id,
        h.parent_id,
        array(
          select jsonb_object_keys(h.metadata -> 'counters_since_delta_snapshot')
        ) as deltas
      from heads as h
      where not (
        h.checkpoint_ns like '%:%'
        and exists (
          select
          from tide_langgraph.checkpoints as r
          where r.thread_no = v_thread_no
            and r.checkpoint_ns = ''
            and r.checkpoint_id = h.metadata -> 'parents' ->> ''
        )
        and not exists (
          select
          from heads as r
          where r.checkpoint_ns = ''
            and r.checkpoint_id = h.metadata -> 'parents' ->> ''
        )
      )
      union all
      select
        c.checkpoint_ns,
        c.checkpoint_id,
        c.parent_id,
        o.deltas
      from needed as n
      join tide_langgraph.checkpoints as c
        on c.thread_no = v_thread_no
        and c.checkpoint_ns = n.checkpoint_ns
        and c.checkpoint_id = n.parent_id
      cross join lateral (
        select array(
          select d.channel
          from unnest(n.deltas) as d(channel)
          where not tide_langgraph._has_value(
            v_thread_no, n.checkpoint_ns, n.checkpoint_id, d.channel
          )
        ) as deltas
      ) as o
      where cardinality(o.deltas) > 0
    ), gone as (
      delete from tide_langgraph.checkpoints as c
      where c.thread_no = v_thread_no
        and (c.checkpoint_ns, c.checkpoint_id) not in (
          select
            n.checkpoint_ns,
            n.checkpoint_id
          from needed as n
        )
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

comment on function tide_langgraph.prune is
  'Keep of these threads the latest checkpoint of each namespace and what it is rebuilt from.';
