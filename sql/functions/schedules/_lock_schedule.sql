create or replace function tide._lock_schedule(name text)
returns tide.schedules
language plpgsql
volatile
as $$
declare
  v_schedule tide.schedules;
begin
  v_schedule := (
    select s
    from tide.schedules as s
    where s.schedule = _lock_schedule.name
    for no key update
  );
  if v_schedule.schedule is null then
    perform tide._require_visible(
      format('schedule %L', left(_lock_schedule.name, 200))
    );
    raise exception 'schedule % does not exist',
        coalesce(quote_literal(left(_lock_schedule.name, 200)), 'null')
      using errcode = 'TD010',
            hint = 'See list_schedules.';
  end if;
  return v_schedule;
end;
$$;

comment on function tide._lock_schedule is 'Lock a schedule and return it; unknown: TD010.';
