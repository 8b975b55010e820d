create or replace view tide.usage_by_day
with (security_barrier = true) as
select
  (u.created_at at time zone 'UTC')::date as day,
  count(*) as records,
  sum(u.input_tokens) as input_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.total_tokens) as total_tokens,
  sum(u.cost_usd) as cost_usd
from tide.usage as u
group by (u.created_at at time zone 'UTC')::date;

comment on view tide.usage_by_day is 'What was spent on each day, UTC.';
