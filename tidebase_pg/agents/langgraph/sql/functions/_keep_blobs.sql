create or replace function tide_langgraph._keep_blobs(
  thread_no bigint,
  hashes bytea[],
  types text[],
  datas bytea[]
)
returns void
language plpgsql
volatile
as $$
begin
  if cardinality(_keep_blobs.hashes) > 0 then
    -- In order: two writers with the same blobs would wait for each other otherwise.
    insert into tide_langgraph.blobs (thread_no, hash, type, data)
    select
      _keep_blobs.thread_no,
      b.hash,
      b.type,
      b.data
    from unnest(_keep_blobs.hashes, _keep_blobs.types, _keep_blobs.datas) as b(hash, type, data)
    order by b.hash
    on conflict do nothing;
  end if;
end;
$$;

comment on function tide_langgraph._keep_blobs is 'Store the blobs a thread does not have yet.';
