create or replace view tide.usage_by_workflow
with (security_barrier = true) as
select
  r.workflow,
  count(*) as records,
  sum(u.input_tokens) as input_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.total_tokens) as total_tokens,
  sum(u.cost_usd) as cost_usd
from tide.usage as u
join tide.runs as r on r.run_id = u.run_id
group by r.workflow;

comment on view tide.usage_by_workflow is 'What the runs of each workflow spent.';
