create or replace function tide.settle(outcomes jsonb)
returns table (run_id uuid, accepted boolean, reason text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_exceptions constant tide.verdict[] := tide._settle(settle.outcomes);
begin
  return query
  select
    (e.outcome ->> 'run_id')::uuid,
    coalesce(v.accepted, true),
    v.reason
  from jsonb_array_elements(settle.outcomes) with ordinality as e(outcome, ordinality)
  left join unnest(v_exceptions) as v on v.run_id = (e.outcome ->> 'run_id')::uuid
  order by e.ordinality;
end;
$$;

comment on function tide.settle is
  'Report the outcomes of leased runs, each judged alone: result, or error with retryable, '
  'failure_class and retry_after, or release with delay. used is recorded with it, as in complete; of '
  'runs with a budget only by itself: the reason single says that nothing was done. trace, an object with '
  'traceparent and tracestate, goes with the webhooks it makes. One row for each, in order.';
