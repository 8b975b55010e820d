create or replace function tide.pause(reason text default null, actor text default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', pause.actor);
  v_reason constant text := tide._valid_note('reason', pause.reason);
begin
  if tide._paused_at() is null then
    perform tide._note_change(
      'installation',
      null,
      null,
      v_actor,
      '{"paused": false}',
      '{"paused": true}' || tide._said('reason', v_reason)
    );
  end if;
  perform tide._pause(coalesce(v_actor, session_user), v_reason);
end;
$$;

comment on function tide.pause is
  'Pause the whole installation: nothing is claimed, fired, swept or sent until resume. What runs may '
  'go on and report; new runs may be enqueued.';
