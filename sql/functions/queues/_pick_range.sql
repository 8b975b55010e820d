create or replace function tide._pick_range(
  queue text,
  lowest integer,
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
  loop
    select
      array_agg(l.run_id) filter (where l.deadline_at is null or l.deadline_at > v_now),
      array_agg(l.run_id) filter (where l.deadline_at <= v_now)
    into v_live, v_overdue
    from (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.queue = _pick_range.queue
        and r.ready
        and r.priority between _pick_range.lowest and _pick_range.highest
        and (_pick_range.workflows is null or r.workflow = any (_pick_range.workflows))
      order by r.priority desc, r.run_at, r.run_id
      limit _pick_range.max_runs - cardinality(v_picked)
      for no key update skip locked
    ) as l;
    v_picked := v_picked || v_live;
    exit when v_overdue is null;
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
    exit when cardinality(v_picked) >= _pick_range.max_runs;
  end loop;
  return v_picked;
end;
$$;

comment on function tide._pick_range is
  'Lock ready runs of a range of priorities; overdue ones are cancelled on the way.';
