create or replace function tide._use_up(run tide.runs, used tide.usage[])
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  perform tide._write_used(_use_up.run, null, used, ends => false);
  v_run := (
    select r::tide.runs
    from tide.runs_active as r
    where r.run_id = run.run_id
  );
  return v_run;
end;
$$;

comment on function tide._use_up is
  'Store and charge what the attempt of a leased run used beside its steps, and return the run as it is '
  'since.';
