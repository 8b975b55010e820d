create or replace function tide._next_wakeup(queues text[])
returns interval
language plpgsql
stable
as $$
declare
  v_now constant timestamptz := tide._now();
  v_tick_at timestamptz;
  v_at timestamptz;
begin
  select t.next_at
  into v_tick_at
  from tide.ticks as t
  where tide._paused_at() is null;
  if not found then
    return null;
  end if;
  v_at := least(
    (select min(r.deadline_at) from tide.runs_active as r where r.deadline_at is not null),
    (select min(r.recover_at) from tide.runs_active as r where r.recover_at is not null),
    (
      select min(r.dispatched_until)
      from tide.runs_active as r
      where r.dispatched_until is not null
    ),
    (
      select min(g.expires_at)
      from tide.gates as g
      where g.status = 'pending'
        and g.expires_at is not null
    ),
    (
      select min(w.due_at)
      from tide.waits as w
      where w.status = 'pending'
        and w.due_at is not null
    ),
    (
      select v_now
      where exists (
        select
        from tide.run_edges as e
        where not e.noticed
        union all
        select
        from tide.predecessors as p
        where not p.noticed
      )
    ),
    tide._next_look(v_now),
    (select min(w.due_at) from tide.budget_waits as w where w.due_at is not null),
    (select min(s.next_fire_at) from tide.schedules as s where s.enabled and not s.paused),
    tide._next_expiry(v_now)
  );
  -- These are for a tick: what the last one left alone is not looked at before the next.
  v_at := least(
    case when v_at is not null then greatest(v_at, v_tick_at) end,
    (select min(r.run_at) from tide.runs_active as r where r.status = 'queued' and not r.ready),
    tide._next_room(_next_wakeup.queues, v_now)
  );
  return case
    when v_at < 'infinity' then greatest(v_at - v_now, interval '0')
  end;
end;
$$;

comment on function tide._next_wakeup is
  'The time until something becomes ready, fires, times out or expires; null = nothing will, or '
  'the installation is paused.';
