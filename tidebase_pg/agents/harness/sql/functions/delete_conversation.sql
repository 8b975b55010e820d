create or replace function tide_harness.delete_conversation(
  conversation_id text,
  is_run boolean default false
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from tide_harness.conversations as c
  where c.conversation_id = delete_conversation.conversation_id
    and c.is_run = delete_conversation.is_run;
  return found;
end;
$$;

comment on function tide_harness.delete_conversation is
  'Remove a conversation with its runs, or with is_run a run that has none, by its id, and say whether there '
  'was one.';
