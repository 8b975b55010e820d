create or replace function tide.revoke_queue(queue text, role text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tide._require_read_committed('revoke_queue');
  perform tide._require_grantor(revoke_queue.queue);
  delete from tide.queue_grants as g
  where g.queue = revoke_queue.queue
    and g.role = revoke_queue.role;
  return found;
end;
$$;

comment on function tide.revoke_queue is
  'Take back what grant_queue gave; false = there was nothing. With its last grant gone a queue is '
  'open again to everybody who may call the functions.';
