-- A worker knows its queue to be plain only by a claim that held the shared lock: once this has the
-- exclusive one, each such claim has committed, and its row is seen here, by a snapshot of now.
create or replace function tide._lock_settings(queue text, function text)
returns void
language plpgsql
volatile
as $$
begin
  perform tide._require_read_committed(_lock_settings.function);
  perform pg_advisory_xact_lock(1953064038, hashtext(_lock_settings.queue));
  update tide.workers as w
  set plain = false
  where w.queues = array[_lock_settings.queue]
    and w.plain;
end;
$$;

comment on function tide._lock_settings is
  'Wait until no claim is between reading the settings of a queue and committing, keep others from it, '
  'and let none go by what its worker knew.';
