create or replace function tide.drop_schedule(name text, actor text default null)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', drop_schedule.actor);
  v_old tide.schedules;
begin
  delete from tide.schedules as s
  where s.schedule = drop_schedule.name
    and tide._may_use(s.queue)
  returning s.* into v_old;
  if found then
    perform tide._note_change(
      'schedule', v_old.schedule, v_old.queue, v_actor, tide._schedule_settings(v_old), '{}'
    );
    return true;
  end if;
  perform tide._require_visible(format('schedule %L', left(drop_schedule.name, 200)));
  return false;
end;
$$;

comment on function tide.drop_schedule is
  'Remove a schedule; its ledger and its runs stay. false = there was none.';
