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
  v_completed uuid[];
  v_results jsonb[];
  v_overdue uuid[];
  v_ended uuid[];
  v_locked uuid[];
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
  select
    array_agg(l.run_id) filter (where l.completed and not l.overdue),
    array_agg(l.result) filter (where l.completed and not l.overdue),
    array_agg(l.run_id) filter (where l.completed and l.overdue),
    array_agg(l.run_id) filter (where not l.completed),
    array_agg(l.run_id)
  into v_completed, v_results, v_overdue, v_ended, v_locked
  from (
    select
      h.run_id,
      o.result,
      o.verb = 'completed' as completed,
      coalesce(h.deadline_at <= v_now, false) as overdue
    from unnest(v_reports) as o
    cross join lateral (
      select
        r.run_id,
        r.deadline_at
      from tide.runs_active as r
      where r.run_id = o.run_id
        and r.lease_id = o.lease_id
        -- Running, in words that do not name the small index of running runs.
        and r.leased_until is not null
      for no key update skip locked
    ) as h
    where o.problem is null
  ) as l;

  if v_completed is not null then
    perform tide._finish(v_completed, 'completed', results => v_results);
  end if;
  if v_overdue is not null then
    perform tide._finish(v_overdue, 'cancelled', reason => 'deadline', actor => 'tide');
  end if;
  if v_ended is not null then
    perform tide._throttle_lane(t.lane, v_now + t.delay, t.throttle)
    from (
      select distinct on (r.lane)
        r.lane,
        o.delay,
        o.throttle
      from unnest(v_reports) as o
      join tide.runs_active as r on r.run_id = o.run_id
      where o.throttle is not null
        and o.run_id = any (v_ended)
        and r.lane is not null
      order by r.lane, o.delay desc
    ) as t;
    foreach v_report in array v_reports loop
      continue when v_report.run_id <> all (v_ended);
      select r.*
      into v_run
      from tide.runs_active as r
      where r.run_id = v_report.run_id;
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
        v_verdict := tide._judge(v_report);
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
