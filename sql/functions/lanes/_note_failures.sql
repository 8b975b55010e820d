-- In the order of their names: each may lock the row of its lane.
create or replace function tide._note_failures(run tide.runs, error jsonb, failure_class text)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
  v_open tide.runs;
begin
  for v_run in
    select n.*
    from tide._in_lanes(_note_failures.run) as n
  loop
    if tide._note_failure(v_run, _note_failures.error, _note_failures.failure_class)
      and v_open.lane is null
    then
      v_open := v_run;
    end if;
  end loop;
  return v_open;
end;
$$;

comment on function tide._note_failures is
  'Count a failure of a run for the breakers of its lanes; the run in the first of them that is open, so '
  'that the attempt is not to count, null = none is.';
