create or replace view tide.usage_by_run
with (security_barrier = true) as
select
  u.run_id,
  count(*) as records,
  sum(u.input_tokens) as input_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.total_tokens) as total_tokens,
  sum(u.cost_usd) as cost_usd
from tide.usage as u
group by u.run_id;

comment on view tide.usage_by_run is 'What each run spent itself; ask for one run_id at a time.';
