create or replace function tide_conversations.delete_idle_records(
  idle interval,
  max_records integer default 100
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_idle_since constant timestamptz := tide_conversations._idle_since(delete_idle_records.idle);
  v_record record;
  v_deleted integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('tide_conversations.records'));
  for v_record in
    select
      r.conversation_id,
      r.revision
    from tide_conversations.records as r
    where r.updated_at < v_idle_since
    order by r.updated_at
    limit delete_idle_records.max_records
  loop
    perform tide_conversations._remove_record(v_record.conversation_id, v_record.revision);
    v_deleted := v_deleted + 1;
  end loop;
  return v_deleted;
end;
$$;

comment on function tide_conversations.delete_idle_records is
  'Remove the records nobody has saved for so long, the longest idle first, with the entries that no other '
  'history holds, and return how many. Call it until it answers 0.';
