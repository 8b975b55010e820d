create or replace function tide_conversations._remove_record(
  conversation_id text,
  expected_revision text
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_tips text[];
  v_tree text[];
begin
  delete from tide_conversations.records as r
  where r.conversation_id = _remove_record.conversation_id
    and r.revision = _remove_record.expected_revision
  returning r.tips
  into v_tips;
  if not found then
    return false;
  end if;
  v_tree := array(
    select e.entry_id
    from tide_conversations.entries as e
    where e.root_id in (
      select t.root_id
      from tide_conversations.entries as t
      where t.entry_id = any(v_tips)
    )
  );
  with recursive kept as (
    select
      e.entry_id,
      e.parent_id
    from tide_conversations.records as r
    cross join unnest(r.tips) as t(entry_id)
    join tide_conversations.entries as e
      on e.entry_id = t.entry_id
    where r.tips && v_tree
    union
    select
      e.entry_id,
      e.parent_id
    from kept as k
    join tide_conversations.entries as e
      on e.entry_id = k.parent_id
  )
  delete from tide_conversations.entries as e
  where e.entry_id = any(v_tree)
    and not exists (
      select
      from kept as k
      where k.entry_id = e.entry_id
    );
  return true;
end;
$$;

comment on function tide_conversations._remove_record is
  'Remove a record that has this revision, and the entries that no other history holds, under the lock of '
  'the caller; false where there is none.';
