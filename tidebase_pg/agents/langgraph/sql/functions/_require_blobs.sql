create or replace function tide_langgraph._require_blobs(thread_no bigint, hashes bytea[])
returns void
language plpgsql
volatile
as $$
declare
  v_missing bigint;
begin
  select count(*)
  into v_missing
  from unnest(_require_blobs.hashes) as n(hash)
  where not exists (
    select
    from tide_langgraph.blobs as b
    where b.thread_no = _require_blobs.thread_no
      and b.hash = n.hash
  );
  if v_missing > 0 then
    raise exception '% values of the thread are not stored any more', v_missing
      using errcode = 'TD010',
            hint = 'Send all values.';
  end if;
end;
$$;

comment on function tide_langgraph._require_blobs is
  'Refuse to refer to blobs that are not there: TD010, and the caller sends all of them.';
