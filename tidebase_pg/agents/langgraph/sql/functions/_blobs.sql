-- Limit 1 keeps the planner from reading all a thread has, which it takes for little until the
-- tables are analyzed; and so one plan is good for every thread.
create or replace function tide_langgraph._blobs(thread_no bigint, hashes bytea[])
returns table (types text[], datas bytea[])
language sql
stable
as $$
  select
    array_agg(b.type order by h.place),
    array_agg(b.data order by h.place)
  from unnest(_blobs.hashes) with ordinality as h(hash, place)
  left join lateral (
    select
      k.type,
      k.data
    from tide_langgraph.blobs as k
    where k.thread_no = _blobs.thread_no
      and k.hash = h.hash
    limit 1
  ) as b on true;
$$;

comment on function tide_langgraph._blobs is 'Types and data of blobs, in the order of their hashes.';
