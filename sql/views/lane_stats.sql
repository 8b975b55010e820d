create or replace view tide.lane_stats as
select
  l.lane,
  l.total,
  l.per_key,
  l.running,
  l.waiting,
  l.throttled_until,
  l.throttle_reason,
  l.failures,
  l.failure,
  l.opened_at,
  l.probe_at,
  l.fair,
  l.units,
  l.units_per_key,
  l.period,
  l.used,
  l.adaptive_limit,
  l.counted_to
from tide.list_lanes() as l;

comment on view tide.lane_stats is
  'Each lane: its limits, how many of its runs run and how many wait for a place, counted to counted_to as '
  'list_lanes counts them, until when it is throttled and why, of its breaker the failures in a row, '
  'the last one, since when it is open and when a run probes next; fair = its keys are served in turn; '
  'used = how many of its units are used in the period; adaptive_limit = how many runs of an adaptive lane '
  'may run at once now.';
