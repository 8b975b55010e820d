-- As a claim, but for the application's handler: a run holds its slot and permit from the dispatch on.
create or replace function tide._push_runs(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_queue tide.queues;
  v_room integer;
  v_pushed integer := 0;
begin
  for v_queue in
    select q.*
    from tide.queues as q
    where q.push_url is not null
      and not q.paused
      and not exists (
        select
        from tide.endpoints as e
        where e.endpoint = tide._endpoint(q.push_url)
          and e.open_until > tide._now()
      )
    order by q.queue
  loop
    -- After the pause of a breaker one run is the attempt that decides: the others would use
    -- up their dispatches on an application that is still away.
    select least(
      _push_runs.max_runs,
      case
        when exists (
          select
          from tide.endpoints as e
          where e.endpoint = tide._endpoint(v_queue.push_url)
            and e.open_until is not null
        ) then 1
        else 100
      end - count(*)
    )
    into v_room
    from tide.runs_active as r
    where r.queue = v_queue.queue
      and r.dispatched_until is not null;
    if v_room > 0 then
      v_pushed := v_pushed + tide._push_queue(v_queue.queue, v_room);
    end if;
  end loop;
  return v_pushed;
end;
$$;

comment on function tide._push_runs is
  'Push ready runs of push queues: at most 100 of a queue wait to be begun; none are pushed to an '
  'endpoint whose circuit breaker is open, and one when its pause is over.';
