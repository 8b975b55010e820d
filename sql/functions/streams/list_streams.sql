create or replace function tide.list_streams(run_id uuid)
returns table (stream text, chunks bigint, last_position bigint, appended_at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_run(list_streams.run_id);
  perform tide._find_run(list_streams.run_id);
  return query
  select
    s.stream,
    coalesce(sum(s.size) filter (where s.chunks is not null), 0)::bigint,
    max(s.position + s.size - 1),
    max(s.appended_at)
  from tide.stream_chunks as s
  where s.run_id = list_streams.run_id
  group by s.stream
  order by s.stream;
end;
$$;

comment on function tide.list_streams is
  'The streams of a run by name, with how many chunks can be read of each.';
