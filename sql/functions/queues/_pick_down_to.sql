-- Most runs of a queue have one priority: whether there are others above the floor is asked first, as
-- taking them costs a statement of its own.
create or replace function tide._pick_down_to(
  floor tide.claim_floors,
  highest integer,
  max_runs integer,
  workflows text[]
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_picked uuid[] := array[]::uuid[];
  v_live uuid[];
  v_overdue uuid[];
begin
  if exists (
    select
    from tide.runs_active as r
    where r.queue = floor.queue
      and r.ready
      and r.priority > floor.priority
      and r.priority <= _pick_down_to.highest
  ) then
    v_picked := tide._pick_range(
      floor.queue,
      floor.priority + 1,
      _pick_down_to.highest,
      _pick_down_to.max_runs,
      _pick_down_to.workflows
    );
  end if;
  while cardinality(v_picked) < _pick_down_to.max_runs loop
    select
      array_agg(l.run_id) filter (where l.deadline_at is null or l.deadline_at > v_now),
      array_agg(l.run_id) filter (where l.deadline_at <= v_now)
    into v_live, v_overdue
    from (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.queue = floor.queue
        and r.ready
        and r.priority = floor.priority
        and (r.run_at, r.run_id) >= (floor.run_at, floor.first_id)
        and (_pick_down_to.workflows is null or r.workflow = any (_pick_down_to.workflows))
      order by r.priority desc, r.run_at, r.run_id
      limit _pick_down_to.max_runs - cardinality(v_picked)
      for no key update skip locked
    ) as l;
    v_picked := v_picked || v_live;
    exit when v_overdue is null;
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
  end loop;
  return v_picked;
end;
$$;

comment on function tide._pick_down_to is
  'Lock ready runs from the highest priority down to that of a floor, of that one from the floor on; '
  'overdue ones are cancelled on the way.';
