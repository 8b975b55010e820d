create or replace function tide_harness.list_unresolved_effects(run_id text)
returns setof text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select e.record::text
  from tide_harness.runs as r
  join tide_harness.effects as e on e.run_no = r.run_no
  where r.run_id = list_unresolved_effects.run_id
    and e.status = 'started'
  order by e.effect_no
$$;

comment on function tide_harness.list_unresolved_effects is
  'The calls of tools of which nobody knows whether they took effect.';
