create or replace function tide_conversations.delete_record(
  conversation_id text,
  expected_revision text
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(hashtext('tide_conversations.records'));
  return tide_conversations._remove_record(
    delete_record.conversation_id, delete_record.expected_revision
  );
end;
$$;

comment on function tide_conversations.delete_record is
  'Remove a record that has this revision, and the entries that no other history holds; false where there '
  'is none.';
