-- Rows are joined where nothing of another step lies between them, up to a quarter of a megabyte,
-- so that a reader in the middle of a long stream does not read all of it.
create or replace function tide._join_chunks(run_id uuid, step text)
returns void
language plpgsql
volatile
as $$
begin
  with pieces as (
    select
      s.stream,
      s.position,
      s.position - sum(s.size) over (earlier) + s.size as neighbours,
      sum(pg_column_size(s.chunks)) over (earlier) / 262144 as part
    from tide.stream_chunks as s
    where s.run_id = _join_chunks.run_id
      and s.step = _join_chunks.step
      and s.chunks is not null
    window earlier as (partition by s.stream order by s.position)
  ), groups as (
    select
      p.stream,
      p.position,
      min(p.position) over (together) as first_position,
      count(*) over (together) as members
    from pieces as p
    window together as (partition by p.stream, p.neighbours, p.part)
  ), gone as (
    delete from tide.stream_chunks as s
    using groups as g
    where s.run_id = _join_chunks.run_id
      and s.stream = g.stream
      and s.position = g.position
      and g.members > 1
    returning
      s.*,
      g.first_position
  )
  insert into tide.stream_chunks (
    run_id, stream, position, size, step, attempt, lease_id, chunks, appended_at
  )
  select
    _join_chunks.run_id,
    g.stream,
    g.first_position,
    count(*),
    _join_chunks.step,
    max(g.attempt),
    (array_agg(g.lease_id))[1],
    jsonb_agg(c.chunk order by g.position, c.ordinality),
    max(g.appended_at)
  from gone as g
  cross join lateral jsonb_array_elements(g.chunks) with ordinality as c(chunk, ordinality)
  group by
    g.stream,
    g.first_position;
end;
$$;

comment on function tide._join_chunks is
  'Join the rows a completed step wrote to streams; positions stay as they are.';
