-- One statement for what five others look at, and one for the runs: most claims are a busy worker's,
-- of one queue without limits whose runs have one priority. As in _take, the shared lock comes
-- before the settings are read.
create or replace function tide._pick_plain(
  queues text[],
  max_runs integer,
  worker text,
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
  if not pg_try_advisory_xact_lock_shared(1953064038, hashtext(queues[1])) then
    return null;
  end if;
  select
    coalesce(array_agg(l.run_id) filter (where l.run_id is not null), '{}'),
    bool_or(l.deadline_at <= v_now),
    min(f.priority)
  into v_picked, v_overdue, v_lowest
  from tide._undisturbed(
      _pick_plain.queues, _pick_plain.worker, _pick_plain.workflows, v_now
    )
    cross join tide.claim_floors as f
    left join lateral (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.queue = _pick_plain.queues[1]
        and r.ready
        and r.priority = f.priority
        and (r.run_at, r.run_id) >= (f.run_at, f.first_id)
        and (_pick_plain.workflows is null or r.workflow = any (_pick_plain.workflows))
      order by r.priority desc, r.run_at, r.run_id
      limit _pick_plain.max_runs
      for no key update skip locked
    ) as l on true
  where f.queue = _pick_plain.queues[1]
    and not exists (
      select
      from tide.queues as q
      where q.queue = _pick_plain.queues[1]
        and (
          q.paused
          or num_nonnulls(q.push_url, q.concurrency, q.rate_limit, q.budget) > 0
        )
    )
    and not exists (
      select
      from tide.runs_active as r
      where r.queue = _pick_plain.queues[1]
        and r.ready
        and r.priority > f.priority
    );
  if v_overdue or v_lowest is null then
    return null;
  end if;
  if cardinality(v_picked) < max_runs
    and exists (
      select
      from tide.runs_active as r
      where r.queue = _pick_plain.queues[1]
        and r.ready
        and r.priority < v_lowest
    )
  then
    return null;
  end if;
  return v_picked;
end;
$$;

comment on function tide._pick_plain is
  'Lock ready runs of one queue, as _pick does, for a claim before which nothing has to be done; null '
  'when anything else has to be looked at, the runs locked or not.';
