create or replace view tide.metrics as
select
  m.metric,
  m.queue,
  m.value
from tide._metrics() as m;

comment on view tide.metrics is
  'Everything a monitor wants as rows of metric, queue (null = the installation) and value: gauges for '
  'Grafana or a Prometheus exporter.';
