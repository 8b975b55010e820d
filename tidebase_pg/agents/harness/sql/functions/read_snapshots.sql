create or replace function tide_harness.read_snapshots(
  run_id text,
  include_interrupted boolean default false,
  max_snapshots integer default null
)
returns table (
  records text[],
  heads bytea[],
  hashes bytea[],
  parents bytea[],
  messages text[]
)
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  with recursive chosen as (
    select
      r.conversation_no,
      s.*
    from tide_harness.runs as r
    join tide_harness.snapshots as s on s.run_no = r.run_no
    where r.run_id = read_snapshots.run_id
      and (read_snapshots.include_interrupted or s.state = 'complete')
    order by s.snapshot_no desc
    limit read_snapshots.max_snapshots
  ),
  history as (
    select
      c.conversation_no,
      c.head_hash as hash
    from chosen as c
    where c.head_hash is not null
    union
    select
      h.conversation_no,
      m.parent_hash
    from history as h
    join tide_harness.messages as m
      on m.conversation_no = h.conversation_no
      and m.hash = h.hash
    where m.parent_hash is not null
  ),
  found as (
    select
      array_agg(m.hash) as hashes,
      array_agg(m.parent_hash) as parents,
      array_agg(m.message::text) as messages
    from history as h
    join tide_harness.messages as m
      on m.conversation_no = h.conversation_no
      and m.hash = h.hash
  )
  select
    s.records,
    s.heads,
    f.hashes,
    f.parents,
    f.messages
  from (
    select
      array_agg(c.record::text order by c.snapshot_no) as records,
      array_agg(c.head_hash order by c.snapshot_no) as heads
    from chosen as c
  ) as s
  cross join found as f
$$;

comment on function tide_harness.read_snapshots is
  'The latest points from which a run can go on, in the order of their making, and all messages before them, '
  'each once, in no order.';
