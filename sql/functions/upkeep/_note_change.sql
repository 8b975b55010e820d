create or replace function tide._note_change(
  kind text,
  name text,
  queue text,
  actor text,
  before jsonb,
  after jsonb
)
returns void
language plpgsql
volatile
as $$
declare
  v_before jsonb;
  v_after jsonb;
begin
  select
    coalesce(jsonb_object_agg(c.key, tide._brief(c.old)) filter (where c.old is not null), '{}'),
    coalesce(jsonb_object_agg(c.key, tide._brief(c.new)) filter (where c.new is not null), '{}')
  into
    v_before,
    v_after
  from (
    select
      k.key,
      _note_change.before -> k.key as old,
      _note_change.after -> k.key as new
    from jsonb_object_keys(_note_change.before || _note_change.after) as k(key)
  ) as c
  where c.old is distinct from c.new;
  if v_before <> '{}' or v_after <> '{}' then
    insert into tide.setting_changes (
      changed_at, kind, name, queue, actor, login, before, after
    )
    values (
      tide._now(),
      _note_change.kind,
      _note_change.name,
      _note_change.queue,
      _note_change.actor,
      session_user,
      v_before,
      v_after
    );
  end if;
end;
$$;

comment on function tide._note_change is
  'Remember what of these settings has changed, and who did it; nothing where nothing has.';
