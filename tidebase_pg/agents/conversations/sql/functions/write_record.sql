-- Whoever writes a record shares the lock that delete_record has alone: what a record is about to point
-- at is not removed meanwhile.
create or replace function tide_conversations.write_record(
  record jsonb,
  entries jsonb,
  expected_revision text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id constant text := write_record.record ->> 'conversation_id';
  v_head_id constant text := write_record.record ->> 'head_id';
  v_tips constant text[] := array(
    select b.tip
    from jsonb_array_elements_text(write_record.record -> 'branches') as b(tip)
  ) || v_head_id;
  v_parent_id constant text := case
    when jsonb_array_length(write_record.entries) = 0 then v_head_id
    else write_record.entries -> 0 ->> 'parent_id'
  end;
  v_root_id text;
begin
  perform pg_advisory_xact_lock_shared(hashtext('tide_conversations.records'));
  select e.root_id
  into v_root_id
  from tide_conversations.entries as e
  where e.entry_id = v_parent_id;
  if not found and v_parent_id is not null then
    return false;
  end if;
  if write_record.expected_revision is null then
    insert into tide_conversations.records (
      conversation_id, revision, scope, head_id, tips, record, updated_at
    )
    values (
      v_id,
      write_record.record ->> 'revision',
      write_record.record ->> 'scope',
      v_head_id,
      array_remove(v_tips, null),
      write_record.record,
      (write_record.record ->> 'updated_at')::timestamptz
    )
    on conflict do nothing;
  else
    update tide_conversations.records as r
    set
      revision = write_record.record ->> 'revision',
      scope = write_record.record ->> 'scope',
      head_id = v_head_id,
      tips = array_remove(v_tips, null),
      record = write_record.record,
      updated_at = (write_record.record ->> 'updated_at')::timestamptz
    where r.conversation_id = v_id
      and r.revision = write_record.expected_revision;
  end if;
  if not found then
    return false;
  end if;
  insert into tide_conversations.entries (entry_id, parent_id, root_id, message, kind)
  select
    n.id,
    n.parent_id,
    coalesce(v_root_id, write_record.entries -> 0 ->> 'id'),
    n.message,
    n.kind
  from jsonb_to_recordset(write_record.entries)
    as n(id text, parent_id text, message jsonb, kind text);
  return true;
end;
$$;

comment on function tide_conversations.write_record is
  'Store a record and the entries its history adds, in order. False, and nothing is stored: the record '
  'has not expected_revision (null = there is none), or its history begins at an entry that is gone.';
