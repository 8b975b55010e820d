create or replace function tide.get_step(run_id uuid, name text)
returns tide.steps
language plpgsql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step tide.steps;
begin
  perform tide._require_run(get_step.run_id);
  v_step := (
    select s
    from tide.steps as s
    where s.run_id = get_step.run_id
      and s.name = get_step.name
  );
  if v_step.name is null then
    perform tide._find_run(get_step.run_id);
    raise exception 'run % has no step %', get_step.run_id,
        coalesce(quote_literal(left(get_step.name, 200)), 'null')
      using errcode = 'TD010',
            hint = 'outline_run lists the steps of a run.';
  end if;
  v_step.lease_id := null;
  return v_step;
end;
$$;

comment on function tide.get_step is
  'A step of a run with its output and error; unknown: TD010.';
