create or replace function tide.pause(reason text default null, actor text default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tide._pause(
    coalesce(tide._valid_note('actor', pause.actor), session_user),
    tide._valid_note('reason', pause.reason)
  );
end;
$$;

comment on function tide.pause is
  'Pause the whole installation: nothing is claimed, fired, swept or sent until resume. What runs may '
  'go on and report; new runs may be enqueued.';
