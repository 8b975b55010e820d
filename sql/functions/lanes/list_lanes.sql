-- Bounded looks at indexes alone: a lane with a million runs costs what one with ten thousand costs, and of
-- any number of lanes a million runs are looked at, a hundred of each in any case.
create or replace function tide.list_lanes(lanes text[] default null)
returns table (
  lane text,
  total integer,
  per_key integer,
  running bigint,
  waiting bigint,
  keys jsonb,
  created_at timestamptz,
  updated_at timestamptz,
  throttled_until timestamptz,
  throttle_reason text,
  breaker_failures integer,
  breaker_classes text[],
  breaker_delay interval,
  breaker_max_delay interval,
  failures bigint,
  failure text,
  opened_at timestamptz,
  probe_at timestamptz,
  fair boolean,
  weights jsonb,
  units bigint,
  units_per_key bigint,
  period interval,
  unit text,
  used bigint,
  adaptive boolean,
  adaptive_min integer,
  adaptive_limit integer,
  counted_to integer
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_most integer;
begin
  select least(10001, 1 + 1000000 / greatest(count(*), 1))
  into v_most
  from tide.lanes as l
  where (list_lanes.lanes is null or l.lane = any (list_lanes.lanes))
    and (
      exists (
        select
        from tide.runs_active as r
        where r.lane = l.lane
          and (r.status = 'running' or r.dispatched_until is not null)
        order by r.lane, r.lane_key, r.run_id
        offset 100
      )
      or exists (
        select
        from tide.run_lanes as o
        where o.lane = l.lane
          and o.held
        order by o.lane, o.lane_key, o.run_id
        offset 100
      )
      or exists (
        select
        from tide.lane_waits as w
        where w.lane = l.lane
        order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
        offset 100
      )
    );
  return query
  select
    l.lane,
    l.total,
    l.per_key,
    k.running,
    k.waiting,
    k.keys,
    l.created_at,
    l.updated_at,
    t.until,
    case when t.until is not null then l.throttle_reason end,
    l.breaker_failures,
    l.breaker_classes,
    l.breaker_delay,
    l.breaker_max_delay,
    case when l.breaker_failures is not null then b.failures end,
    b.failure,
    case when b.failures > 0 then l.opened_at end,
    case when b.failures > 0 then l.probe_at end,
    coalesce(l.fair, false),
    l.weights,
    l.units,
    l.units_per_key,
    l.period,
    l.unit,
    case when l.units is not null then tide._units_used(l.lane, '') end,
    coalesce(l.adaptive, false),
    l.adaptive_min,
    case when l.adaptive then tide._line_most(l, '') end,
    v_most
  from tide.lanes as l
  cross join lateral (
    select
      coalesce(sum(n.running), 0)::bigint as running,
      coalesce(sum(n.waiting), 0)::bigint as waiting,
      coalesce(
        jsonb_agg(
          jsonb_build_object(
            'lane_key', n.lane_key, 'running', n.running, 'waiting', n.waiting
          ) || case
            when l.units_per_key is not null and n.lane_key is not null
              then jsonb_build_object('used', tide._units_used(l.lane, n.lane_key))
            else '{}'
          end
          order by n.running + n.waiting desc, n.lane_key
        ) filter (where n.place <= 20),
        '[]'
      ) as keys
    from (
      select
        m.lane_key,
        count(*) filter (where m.running) as running,
        count(*) filter (where not m.running) as waiting,
        row_number() over (order by count(*) desc, m.lane_key) as place
      from (
        (
          select
            r.lane_key,
            true as running
          from tide.runs_active as r
          where r.lane = l.lane
            and (r.status = 'running' or r.dispatched_until is not null)
          order by r.lane, r.lane_key, r.run_id
          limit v_most
        )
        union all
        (
          select
            o.lane_key,
            true
          from tide.run_lanes as o
          where o.lane = l.lane
            and o.held
          order by o.lane, o.lane_key, o.run_id
          limit v_most
        )
        union all
        (
          select
            coalesce(w.run_key, nullif(w.lane_key, '')),
            false
          from tide.lane_waits as w
          where w.lane = l.lane
          order by w.lane, w.lane_key, w.priority desc, w.run_at, w.run_id
          limit v_most
        )
      ) as m
      group by m.lane_key
    ) as n
  ) as k
  cross join lateral (
    select case when l.throttled_until > v_now then l.throttled_until end as until
  ) as t
  cross join lateral tide._breaker_of(l) as b
  where list_lanes.lanes is null
    or l.lane = any (list_lanes.lanes)
  order by l.lane;
end;
$$;

comment on function tide.list_lanes is
  'All lanes, or those given: limits, how many of their runs and steps run and how many wait, each '
  'counted to counted_to and no further, so a number that reaches it may be more: 10001, or less where more '
  'than a hundred lanes have over a hundred, so that all counts are a million at most; the twenty keys with '
  'most of them, and until when the lane is throttled, null = it is not. Of a '
  'breaker: the failures in a row, with failed probes while it is open, the last failure, since when it is '
  'open, null = it is closed, and when a run probes next. '
  'fair = its keys are served in turn, by weights. used = how many of its units are used in the period. '
  'adaptive_limit = how many runs of an adaptive lane may run at once now.';
