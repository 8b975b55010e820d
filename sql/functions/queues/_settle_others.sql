-- A run whose row another transaction holds is passed over, so nobody waits here for a stranger, and
-- two calls that share runs are in no deadlock.
create or replace function tide._settle_others(outcomes jsonb, settled uuid[])
returns tide.verdict[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_reports tide.outcome[];
  v_alone boolean;
  v_completed uuid[];
  v_results jsonb[];
  v_overdue uuid[];
  v_ended uuid[];
  v_locked uuid[];
  v_using boolean;
  v_single uuid[];
  v_failing text[];
  v_throttled text[];
  v_others text[];
  v_report tide.outcome;
  v_run tide.runs;
  v_verdict tide.verdict;
  v_busy uuid[] := array[]::uuid[];
  v_verdicts tide.verdict[] := array[]::tide.verdict[];
begin
  v_reports := array(
    select o
    from unnest(tide._parse_outcomes(_settle_others.outcomes)) as o
    where o.run_id <> all (_settle_others.settled)
  );
  -- Budgets and allowances are waited for, in an order that holds for one run: with others ended
  -- already, two callers could wait for each other.
  v_alone := cardinality(v_reports) = 1 and _settle_others.settled = '{}';
  select
    array_agg(l.run_id) filter (where l.completed and not l.overdue and not l.single),
    array_agg(l.result) filter (where l.completed and not l.overdue and not l.single),
    array_agg(l.run_id) filter (where l.completed and l.overdue and not l.single),
    array_agg(l.run_id) filter (where not l.completed and not l.single),
    array_agg(l.run_id) filter (where not l.single),
    bool_or(l.uses and not l.single),
    array_agg(l.run_id) filter (where l.single),
    array_agg(l.lane) filter (where l.lane is not null and l.verb = 'failed' and not l.single),
    array_agg(l.lane) filter (where l.lane is not null and l.throttle is not null and not l.single)
  into
    v_completed, v_results, v_overdue, v_ended, v_locked, v_using, v_single, v_failing, v_throttled
  from (
    select
      h.run_id,
      o.result,
      h.lane,
      o.verb,
      o.throttle,
      o.used is not null as uses,
      o.used is not null and h.budgeted and not v_alone as single,
      o.verb = 'completed' as completed,
      coalesce(h.deadline_at <= v_now, false) as overdue
    from unnest(v_reports) as o
    cross join lateral (
      select
        r.run_id,
        r.deadline_at,
        r.lane,
        o.used is not null
          and (
            r.budget is not null
            or r.parent_id is not null and cardinality(tide._budgets(r)) > 0
          ) as budgeted
      from tide.runs_active as r
      where r.run_id = o.run_id
        and r.lease_id = o.lease_id
        -- Running, in words that do not name the small index of running runs.
        and r.leased_until is not null
      for no key update skip locked
    ) as h
    where o.problem is null
  ) as l;

  if v_using then
    foreach v_report in array v_reports loop
      continue when v_report.used is null or v_report.run_id <> all (v_locked);
      v_run := (
        select r::tide.runs
        from tide.runs_active as r
        where r.run_id = v_report.run_id
      );
      perform tide._use_up(v_run, tide._parse_used(v_report.used, null));
    end loop;
  end if;
  -- Before runs end, which may lock their lane to wake its probe.
  if v_failing is not null or v_throttled is not null then
    v_others := tide._more_lanes(v_ended);
    perform tide._lock_lanes(
      v_failing || v_others, v_throttled || case when v_throttled is not null then v_others end
    );
  end if;
  if v_completed is not null then
    perform tide._finish(v_completed, 'completed', results => v_results);
  end if;
  if v_overdue is not null then
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
  end if;
  if v_ended is not null then
    perform tide._throttle_lane(
      t.lane, v_now + t.delay, t.throttle, claimed_at => t.started_at
    )
    from (
      select distinct on (n.lane)
        n.lane,
        o.delay,
        o.throttle,
        max(r.started_at) over (partition by n.lane) as started_at
      from unnest(v_reports) as o
      join tide.runs_active as r on r.run_id = o.run_id
      cross join lateral unnest(tide._blamed_lanes(r)) as n(lane)
      where o.throttle is not null
        and o.run_id = any (v_ended)
      order by n.lane, o.delay desc
    ) as t;
    foreach v_report in array v_reports loop
      continue when v_report.run_id <> all (v_ended);
      v_run := (
        select r::tide.runs
        from tide.runs_active as r
        where r.run_id = v_report.run_id
      );
      if v_report.verb = 'released' then
        perform tide._release(v_run, v_report.delay, v_report.throttle);
      else
        perform tide._fail(
          v_run, v_report.error, v_report.retryable, v_report.failure_class, v_report.delay
        );
      end if;
    end loop;
  end if;

  if cardinality(v_reports) > coalesce(cardinality(v_locked), 0) or v_overdue is not null then
    foreach v_report in array v_reports loop
      if v_report.run_id <> all (coalesce(v_locked, '{}')) or v_report.run_id = any (v_overdue) then
        v_verdict := case
          when v_report.run_id = any (v_single)
            then (v_report.run_id, false, 'single')::tide.verdict
          else tide._judge(v_report)
        end;
        v_verdicts := v_verdicts || v_verdict;
        if v_verdict.reason = 'busy' then
          v_busy := v_busy || v_verdict.run_id;
        end if;
      end if;
    end loop;
  end if;
  if cardinality(v_busy) > 0 then
    -- What waits to be reported again is no longer renewed by its worker.
    perform tide._renew_beside(array_agg(r.run_id), r.lease)
    from tide.runs_active as r
    where r.run_id = any (v_busy)
    group by r.lease;
  end if;
  return v_verdicts;
end;
$$;

comment on function tide._settle_others is
  'Apply the outcomes of runs not yet settled and return a verdict for each that was not plainly '
  'accepted.';
