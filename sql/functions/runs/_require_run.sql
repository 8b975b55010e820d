create or replace function tide._require_run(run_id uuid, verb text default null)
returns boolean
language plpgsql
stable
as $$
declare
  v_queue text;
begin
  if not exists (
    select
    from tide.queue_grants as g
  ) then
    return true;
  end if;
  select r.queue
  into v_queue
  from tide.runs as r
  where r.run_id = _require_run.run_id;
  if found and (v_queue is null or tide._may_use(v_queue, _require_run.verb)) then
    return true;
  elsif not found and tide._closed_queues(_require_run.verb) = '{}' then
    return true;
  end if;
  raise exception 'run % does not exist, or login % may not use its queue',
      coalesce(_require_run.run_id::text, 'null'), session_user
    using errcode = '42501',
          hint = 'Check the id; for a restricted queue an operator calls tide.grant_queue.';
end;
$$;

comment on function tide._require_run is
  'True, or 42501 when the run is in a restricted queue and the login has no grant. Where there are '
  'queues closed to the login, a run that does not exist is refused in the same words.';
