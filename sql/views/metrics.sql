create or replace view tide.metrics as
select
  m.metric,
  m.queue,
  m.value,
  null::text as lane,
  null::text as scope,
  null::text as unit,
  null::text as per
from tide._metrics() as m
union all
select
  m.metric,
  null,
  m.value,
  l.lane,
  null,
  null,
  null
from tide.lane_stats as l
cross join lateral (
  values
    ('tide_lane_running_runs', l.running::double precision),
    ('tide_lane_waiting_runs', l.waiting::double precision),
    ('tide_lane_counted_to', l.counted_to::double precision),
    ('tide_lane_total', l.total::double precision),
    ('tide_lane_per_key', l.per_key::double precision),
    ('tide_lane_adaptive_limit', l.adaptive_limit::double precision),
    ('tide_lane_units', l.units::double precision),
    ('tide_lane_units_per_key', l.units_per_key::double precision),
    ('tide_lane_used_units', l.used::double precision),
    ('tide_lane_throttled', (l.throttled_until is not null)::integer::double precision),
    (
      'tide_lane_open',
      case
        when l.failures is not null then (l.opened_at is not null)::integer::double precision
      end
    )
) as m(metric, value)
where m.value is not null
union all
select
  m.metric,
  null,
  m.value,
  null,
  a.scope,
  a.unit,
  a.per
from tide.list_allowances() as a
cross join lateral (
  values
    ('tide_allowance_amount', a.amount::double precision),
    ('tide_allowance_spent', a.spent::double precision),
    ('tide_allowance_reserved', a.reserved::double precision),
    ('tide_allowance_left', a.left_over::double precision),
    ('tide_allowance_waiting_runs', a.waiting::double precision)
) as m(metric, value);

comment on view tide.metrics is
  'Everything a monitor wants as rows of metric, queue, value and lane, and scope, unit and per of '
  'allowances (all null = the installation): gauges for Grafana or a Prometheus exporter.';
