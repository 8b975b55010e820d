create or replace function tide_harness.read_effect(run_id text, tool_call_id text)
returns text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select e.record::text
  from tide_harness.runs as r
  join tide_harness.effects as e on e.run_no = r.run_no
  where r.run_id = read_effect.run_id
    and e.tool_call_id = read_effect.tool_call_id
$$;

comment on function tide_harness.read_effect is
  'What is known of a call of a tool; null where nothing is.';
