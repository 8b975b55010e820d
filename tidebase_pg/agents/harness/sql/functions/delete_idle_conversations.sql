create or replace function tide_harness.delete_idle_conversations(
  idle interval,
  max_conversations integer default 100
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_idle_since constant timestamptz := tide_harness._idle_since(delete_idle_conversations.idle);
  v_deleted integer;
begin
  delete from tide_harness.conversations as c
  using (
    select o.conversation_no
    from tide_harness.conversations as o
    where o.touched_at < v_idle_since
    order by o.touched_at
    limit delete_idle_conversations.max_conversations
    for update skip locked
  ) as o
  where c.conversation_no = o.conversation_no;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function tide_harness.delete_idle_conversations is
  'Remove conversations nobody has written to for so long, with their runs, the longest idle first, and '
  'return how many. Call it until it answers 0.';
