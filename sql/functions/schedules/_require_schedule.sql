create or replace function tide._require_schedule(name text, verb text default null)
returns boolean
language plpgsql
stable
as $$
declare
  v_queue text;
begin
  select s.queue
  into v_queue
  from tide.schedules as s
  where s.schedule = _require_schedule.name;
  if found and tide._may_use(v_queue, _require_schedule.verb) then
    return true;
  elsif not found and tide._closed_queues(_require_schedule.verb) = '{}' then
    return true;
  end if;
  raise exception 'schedule % does not exist, or login % may not use its queue',
      coalesce(quote_literal(left(_require_schedule.name, 200)), 'null'), session_user
    using errcode = '42501',
          hint = 'See list_schedules; for a restricted queue an operator calls tide.grant_queue.';
end;
$$;

comment on function tide._require_schedule is
  'True, or 42501 as of _require_run: the queue of the schedule is restricted, or there is none.';
