create or replace function tide._keep_run(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  -- Again when it ends, or a retry brings it back, between the two looks.
  loop
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = _keep_run.run_id
      for key share
    );
    exit when v_run.run_id is not null;
    v_run := (
      select r::tide.runs
      from tide.runs_finished as r
      where r.run_id = _keep_run.run_id
      for key share
    );
    exit when v_run.run_id is not null;
    perform tide._find_run(_keep_run.run_id);
  end loop;
  return v_run;
end;
$$;

comment on function tide._keep_run is
  'The run, which no retention removes before this transaction ends; unknown: TD010.';
