-- One statement for what _pick does in several, for a queue whose runs have one priority, as most have.
-- No more than one floor has runs to give: above it nothing may be ready.
create or replace function tide._pick_plain(
  queue text,
  max_runs integer,
  workflows text[]
)
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_picked uuid[];
  v_overdue boolean;
  v_lowest integer;
begin
  select
    coalesce(array_agg(l.run_id) filter (where l.run_id is not null), '{}'),
    bool_or(l.deadline_at <= v_now),
    min(f.priority)
  into v_picked, v_overdue, v_lowest
  from tide.claim_floors as f
    left join lateral (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.queue = _pick_plain.queue
        and r.ready
        and r.priority = f.priority
        and (r.run_at, r.run_id) >= (f.run_at, f.first_id)
        and (_pick_plain.workflows is null or r.workflow = any (_pick_plain.workflows))
      order by r.priority desc, r.run_at, r.run_id
      limit _pick_plain.max_runs
      for no key update skip locked
    ) as l on true
  where f.queue = _pick_plain.queue
    and not exists (
      select
      from tide.runs_active as r
      where r.queue = _pick_plain.queue
        and r.ready
        and r.priority > f.priority
    );
  if v_overdue or v_lowest is null then
    return null;
  end if;
  -- A look is a statement, even behind an "and" that is false: only where it is asked for.
  if cardinality(v_picked) < max_runs then
    if exists (
      select
      from tide.runs_active as r
      where r.queue = _pick_plain.queue
        and r.ready
        and r.priority < v_lowest
    ) then
      return null;
    end if;
  end if;
  return v_picked;
end;
$$;

comment on function tide._pick_plain is
  'Lock ready runs of one queue, as _pick does; null, the runs locked or not, when there are others '
  'to be looked at: of several priorities, overdue, or without a floor.';
