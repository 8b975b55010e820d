create or replace function tide.drop_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from tide.schedules as s
  where s.schedule = drop_schedule.name
    and tide._may_use(s.queue);
  if found then
    return true;
  end if;
  perform tide._require_visible(format('schedule %L', left(drop_schedule.name, 200)));
  return false;
end;
$$;

comment on function tide.drop_schedule is
  'Remove a schedule; its ledger and its runs stay. false = there was none.';
