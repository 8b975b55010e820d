create or replace function tide._lock_run(run_id uuid, ended_too boolean default false)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  -- Again when a retry has brought the run back between the two looks.
  loop
    v_run := (
      select r::tide.runs
      from tide.runs_active as r
      where r.run_id = _lock_run.run_id
      for no key update
    );
    exit when v_run.run_id is not null;
    if ended_too then
      v_run := (
        select r::tide.runs
        from tide.runs_finished as r
        where r.run_id = _lock_run.run_id
        for no key update
      );
      exit when v_run.run_id is not null;
    end if;
    perform tide._require_visible(format('run %s', _lock_run.run_id));
    v_run := tide._find_run(_lock_run.run_id);
    exit when v_run.finished_at is not null and not ended_too;
  end loop;
  return v_run;
end;
$$;

comment on function tide._lock_run is
  'Lock an active run, with ended_too also one that has ended; otherwise that is returned as it is. '
  'Unknown: TD010.';
