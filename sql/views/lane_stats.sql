create or replace view tide.lane_stats as
select
  l.lane,
  l.total,
  l.per_key,
  r.running,
  w.waiting,
  t.throttled_until,
  case when t.throttled_until is not null then l.throttle_reason end as throttle_reason
from tide.lanes as l
cross join lateral (
  select count(*) as running
  from (
    select
    from tide.runs_active as a
    where a.lane = l.lane
      and (a.status = 'running' or a.dispatched_until is not null)
    limit 10001
  ) as n
) as r
cross join lateral (
  select count(*) as waiting
  from (
    select
    from tide.lane_waits as a
    where a.lane = l.lane
    limit 10001
  ) as n
) as w
cross join lateral (
  select case when l.throttled_until > tide._now() then l.throttled_until end as throttled_until
) as t;

comment on view tide.lane_stats is
  'Each lane: its limits, how many of its runs run and how many wait for a place, each counted to 10001 '
  'and no further, and until when it is throttled and why.';
