create or replace view tide.metrics as
select
  m.metric,
  m.queue,
  m.value,
  null::text as lane
from tide._metrics() as m
union all
select
  m.metric,
  null,
  m.value,
  l.lane
from tide.lane_stats as l
cross join lateral (
  values
    ('tide_lane_running_runs', l.running::double precision),
    ('tide_lane_waiting_runs', l.waiting::double precision),
    ('tide_lane_total', l.total::double precision),
    ('tide_lane_per_key', l.per_key::double precision),
    ('tide_lane_throttled', (l.throttled_until is not null)::integer::double precision)
) as m(metric, value)
where m.value is not null;

comment on view tide.metrics is
  'Everything a monitor wants as rows of metric, queue, value and lane (both null = the installation): '
  'gauges for Grafana or a Prometheus exporter.';
