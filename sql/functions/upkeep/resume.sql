create or replace function tide.resume(actor text default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', resume.actor);
begin
  if tide._is_copy() then
    raise exception 'this database is a copy of the one tide was installed in'
      using errcode = 'TD030',
            hint = 'Call tide.adopt with resume, skip_missed or quarantine.';
  end if;
  if tide._paused_at() is not null then
    perform tide._note_change(
      'installation', null, null, v_actor, '{"paused": true}', '{"paused": false}'
    );
  end if;
  delete from tide.pauses;
  update tide.ticks as t
  set
    paused_at = null,
    paused_by = null,
    pause_reason = null
  where t.paused_at is not null;
  perform pg_notify('tide_work', '*');
end;
$$;

comment on function tide.resume is
  'Let a paused installation go on; in a copy of it: TD030, call adopt.';
