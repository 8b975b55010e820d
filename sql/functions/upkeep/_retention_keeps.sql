create or replace function tide._retention_keeps(queue text)
returns text[]
language plpgsql
stable
as $$
begin
  return coalesce(
    (
      select q.retention_keeps
      from tide.queues as q
      where q.queue = _retention_keeps.queue
    ),
    '{}'
  );
end;
$$;

comment on function tide._retention_keeps is 'What stays when runs of a queue are removed.';
