create or replace function tide._lock_any(run_id uuid)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    select r.*
    into v_run
    from tide.runs_active as r
    where r.run_id = _lock_any.run_id
    for no key update;
    exit when found;
    select r.*
    into v_run
    from tide.runs_finished as r
    where r.run_id = _lock_any.run_id
    for no key update;
    exit when found;
    perform tide._require_visible(format('run %s', _lock_any.run_id));
    perform tide._find_run(_lock_any.run_id);
  end loop;
  return v_run;
end;
$$;

comment on function tide._lock_any is 'Lock a run, active or finished; unknown: TD010.';
