create or replace function tide._with_input(run tide.runs)
returns tide.runs
language plpgsql
stable
parallel safe
as $$
begin
  if run.input is null then
    select i.input
    into run.input
    from tide.run_inputs as i
    where i.run_id = run.run_id;
  end if;
  return run;
end;
$$;

comment on function tide._with_input is 'A run with its input, wherever that lies.';
