-- NOTIFY takes a lock of the whole database at commit: only for runs somebody watches.
create or replace function tide._notify_readers(run_id uuid)
returns void
language plpgsql
volatile
as $$
begin
  perform pg_notify('tide_streams', tide._told_as(w.run_id::text))
  from tide.watchers as w
  where w.run_id = _notify_readers.run_id;
end;
$$;

comment on function tide._notify_readers is
  'Tell on channel tide_streams that a watched run has written to a stream.';
