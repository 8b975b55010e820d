create or replace function tide._find_run(run_id uuid)
returns tide.runs
language plpgsql
stable
as $$
declare
  v_run tide.runs;
begin
  v_run := (
    select r
    from tide.runs as r
    where r.run_id = _find_run.run_id
  );
  if v_run.run_id is null then
    raise exception 'run % does not exist', coalesce(_find_run.run_id::text, 'null')
      using errcode = 'TD010',
            hint = 'Check the id; retention may have removed the run.';
  end if;
  v_run.lease_id := null;
  v_run.session_id := null;
  return tide._with_input(v_run);
end;
$$;

comment on function tide._find_run is
  'The run, active or finished, without its lease id; unknown: TD010.';
